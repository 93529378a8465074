from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from itr_deploy.errors import InputError
from itr_deploy.models.layers import (
    bigru_packed,
    bigru_two_pass,
    check_features,
    gru_one_pass,
    gru_one_way,
    gru_packed,
    l2_norm,
    l2_norm_published,
    last_output,
    norm_over_regions,
    position_mask,
)


def gru(layers: int, *, bidirectional: bool = True) -> nn.GRU:
    torch.manual_seed(layers)
    return nn.GRU(3, 4, layers, batch_first=True, bidirectional=bidirectional).double().eval()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    padding=st.integers(0, 4),
    layers=st.integers(1, 3),
)
def test_two_forward_passes_equal_the_packed_bidirectional_gru(
    lengths: list[int], padding: int, layers: int
) -> None:
    rnn, ends = gru(layers), torch.tensor(lengths)
    x = torch.randn(len(lengths), max(lengths) + padding, 3, dtype=torch.float64)
    with torch.inference_mode():
        packed, two_pass = bigru_packed(rnn, x, ends), bigru_two_pass(rnn, x, ends)
    torch.testing.assert_close(two_pass, packed, rtol=0, atol=1e-12)
    assert (two_pass[~position_mask(ends, x.shape[1])] == 0).all()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    padding=st.integers(0, 4),
    layers=st.integers(1, 3),
)
def test_one_pass_equals_the_packed_gru_of_one_direction(
    lengths: list[int], padding: int, layers: int
) -> None:
    rnn, ends = gru(layers, bidirectional=False), torch.tensor(lengths)
    x = torch.randn(len(lengths), max(lengths) + padding, 3, dtype=torch.float64)
    with torch.inference_mode():
        packed, one_pass = gru_packed(rnn, x, ends), gru_one_pass(rnn, x, ends)
    torch.testing.assert_close(one_pass, packed, rtol=0, atol=1e-12)
    assert (one_pass[~position_mask(ends, x.shape[1])] == 0).all()


@pytest.mark.parametrize("form", [bigru_packed, bigru_two_pass, gru_packed, gru_one_pass])
def test_a_text_alone_and_unpadded_gets_the_same_words_as_in_a_padded_batch(form) -> None:
    rnn, lengths = gru(2, bidirectional="bi" in form.__name__), torch.tensor([2, 7, 1])
    x = torch.randn(3, 9, 3, dtype=torch.float64)
    with torch.inference_mode():
        batch = form(rnn, x, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = form(rnn, x[row : row + 1, :length], lengths[row : row + 1])
            torch.testing.assert_close(batch[row, :length], alone[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [l2_norm, l2_norm_published])
def test_a_row_of_zeros_stays_zeros(norm) -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(norm(x, 1), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


@given(scale=st.floats(1e-3, 1e3))
def test_the_exported_norm_equals_the_published_one(scale: float) -> None:
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4) * scale
    torch.testing.assert_close(l2_norm(x, 1), l2_norm_published(x, 1), rtol=1e-4, atol=1e-12)


def test_a_mask_is_true_up_to_each_length() -> None:
    mask = position_mask(torch.tensor([[1, 3], [0, 2]]), 3)
    assert mask.tolist() == [
        [[True, False, False], [True, True, True]],
        [[False, False, False], [True, True, False]],
    ]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_one_way_gru_ends_at_the_last_real_position(layers: int) -> None:
    torch.manual_seed(layers)
    rnn = nn.GRU(3, 4, layers, batch_first=True).double().eval()
    x, lengths = torch.randn(3, 6, 3, dtype=torch.float64), torch.tensor([2, 6, 1])
    with torch.inference_mode():
        ends = last_output(gru_one_way(rnn, x), lengths)
        for row, length in enumerate(lengths.tolist()):
            final = rnn(x[row : row + 1, :length])[1][-1, 0]
            torch.testing.assert_close(ends[row], final, rtol=0, atol=1e-12)


def test_the_norm_over_regions_is_of_every_feature_on_its_own() -> None:
    x = torch.tensor([[[3.0, 1.0], [4.0, 0.0]]])
    expected = torch.tensor([[[0.6, 1.0], [0.8, 0.0]]])
    torch.testing.assert_close(norm_over_regions(x), expected)


def test_a_feature_that_no_region_has_is_named() -> None:
    x = torch.ones(3, 2, 4)
    check_features(x)
    x[1, 0, 2] = 0
    check_features(x)
    x[1, :, 2] = 0
    assert norm_over_regions(x)[1, :, 2].isnan().all()
    with pytest.raises(InputError, match="image 1: 1 of its 4 embedded features are 0"):
        check_features(x)
