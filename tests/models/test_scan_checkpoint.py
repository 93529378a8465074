"""SCAN's checkpoints: every form that they are published in, and those that are refused."""

from __future__ import annotations

import logging
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itr_deploy.errors import CheckpointError
from itr_deploy.models.lhsc.checkpoint import load as load_lhsc
from itr_deploy.models.scan.checkpoint import load
from tests.support.lhsc import CHECKPOINT as LHSC
from tests.support.scan import (
    CASES,
    I2T,
    LSE,
    NO_NORMS,
    ScanCase,
    golden_checkpoint,
    write_checkpoint,
)

LOGGED = b"./runs/runX/log"
"""An option of the golden checkpoints that nothing reads."""


def refusal(path: Path) -> str:
    """The one line with which a checkpoint is refused, which names the file."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_the_golden_checkpoints_have_every_published_form() -> None:
    assert [zipfile.is_zipfile(case.checkpoint) for case in CASES] == [False, False, True]
    assert b"cuda:0" in LSE.checkpoint.read_bytes()
    assert b"cuda" not in I2T.checkpoint.read_bytes()
    for case in (LSE, I2T):  # Python 2's byte strings: opcode U and a length
        assert b"U" + bytes([len(LOGGED)]) + LOGGED in case.checkpoint.read_bytes()


def test_the_state_dicts_have_the_published_keys() -> None:
    model = load(LSE.checkpoint).plain
    for part, state in zip((model.image, model.text), golden_checkpoint()["model"], strict=True):
        assert list(part.state_dict()) == list(state)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_weight_normalised_linear_is_folded_with_one_norm(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    image = golden_checkpoint(NO_NORMS)["model"][0]
    scale, direction = image["fc.weight_g"], image["fc.weight_v"]
    weights = {(0, "fc.weight_g"): scale.reshape(shape)}
    path = write_checkpoint(tmp_path / "normed.tar", weights=weights, case=NO_NORMS)
    expected = scale * direction / direction.pow(2).sum().sqrt()
    torch.testing.assert_close(load(path).plain.image.fc.weight.data, expected)


@pytest.mark.parametrize(("kind", "case"), [("basic", NO_NORMS), ("weight_norm", LSE)])
def test_a_linear_of_the_other_kind_is_refused(kind: str, case: ScanCase, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "m.tar", options={"precomp_enc_type": kind}, case=case)
    assert "SCAN's image part: missing ['fc.weight']" in refusal(path)


def test_weights_that_the_image_part_does_not_know_are_ignored_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    further = {(0, "attention.weight"): torch.zeros(2, 2)}
    path = write_checkpoint(tmp_path / "more.tar", weights=further)
    found, expected = (load(file).plain.state_dict() for file in (path, LSE.checkpoint))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "['attention.weight']" in record.getMessage()


def test_weights_that_the_text_part_does_not_know_are_refused(tmp_path: Path) -> None:
    further = {(1, "gpool.linear.weight"): torch.zeros(1, 32)}
    path = write_checkpoint(tmp_path / "more.tar", weights=further)
    assert "SCAN's text part: unknown ['gpool.linear.weight']" in refusal(path)


@pytest.mark.parametrize(
    ("part", "key", "name"),
    [(0, "fc.bias", "image"), (1, "embed.weight", "text"), (1, "rnn.bias_hh_l0_reverse", "text")],
)
def test_a_missing_weight_is_named_with_its_part(
    part: int, key: str, name: str, tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "less.tar", weights={(part, key): None})
    assert f"SCAN's {name} part: missing ['{key}']" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        *("img_dim", "embed_size", "word_dim", "vocab_size", "num_layers", "bi_gru"),
        *("no_imgnorm", "no_txtnorm", "precomp_enc_type"),
        *("cross_attn", "raw_feature_norm", "agg_func", "lambda_lse", "lambda_softmax"),
    ],
)
def test_every_option_that_a_score_depends_on_is_demanded(name: str, tmp_path: Path) -> None:
    assert name in refusal(write_checkpoint(tmp_path / "less.tar", without=(name,)))


def test_lambda_lse_is_demanded_only_where_it_counts(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "mean.tar", without=("lambda_lse",), case=I2T)
    assert load(path).options["aggregation"] == "Mean"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"raw_feature_norm": "l1norm"}, ("raw_feature_norm='l1norm' has no defined score",)),
        ({"raw_feature_norm": "clipped_l1norm"}, ("'clipped_l1norm' has no defined", "l2norm")),
        ({"raw_feature_norm": "l3norm"}, ("raw_feature_norm='l3norm' is unknown",)),
        ({"cross_attn": "both"}, ("cross_attn='both' is unknown; known: t2i, i2t",)),
        ({"agg_func": "Min"}, ("agg_func='Min' is unknown", "LogSumExp")),
        ({"precomp_enc_type": "cnn"}, ("precomp_enc_type='cnn' is unknown", "weight_norm")),
        ({"lambda_lse": 0.0}, ("lambda_lse=0 ", "LogSumExp")),
        ({"lambda_softmax": "9"}, ("lambda_softmax='9'", "float")),
        ({"lambda_softmax": float("nan")}, ("lambda_softmax=nan", "not a finite number")),
        ({"bi_gru": 1}, ("bi_gru=1", "bool")),
        ({"bi_gru": False}, ("SCAN's text part: unknown", "_reverse")),
        ({"num_layers": 2}, ("SCAN's text part: missing", "_l1")),
        ({"embed_size": 24}, ("fc.weight has shape [32, 32], its options say [24, 32]",)),
        ({"vocab_size": 47}, ("embed.weight has shape [48, 12], its options say [47, 12]",)),
    ],
)
def test_options_that_cannot_be_used_are_named(
    options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    message = refusal(write_checkpoint(tmp_path / "other.tar", options=options))
    for word in words:
        assert word in message


def test_models_that_save_the_same_weights_are_told_by_their_options(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "vse.tar", without=("cross_attn",))
    assert "not a SCAN checkpoint: its options have no cross_attn" in refusal(path)


def test_two_state_dicts_of_something_else_are_refused(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = [{}, {"bert.embeddings.weight": torch.zeros(2)}]
    torch.save(content, tmp_path / "other.tar")
    message = refusal(tmp_path / "other.tar")
    assert "not a SCAN checkpoint" in message
    assert "starts with 'bert.embeddings.weight'" in message


def test_scan_and_lhsc_recognise_each_others_checkpoints() -> None:
    assert "another model, LHSC: itr-deploy export lhsc" in refusal(LHSC)
    with pytest.raises(CheckpointError, match="another model, SCAN: itr-deploy export scan"):
        load_lhsc(NO_NORMS.checkpoint)


def edited(path: Path, before: bytes, after: bytes) -> Path:
    """A copy of the checkpoint that Python 2 wrote, with other bytes in its options."""
    content = LSE.checkpoint.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    return path


def test_a_python_2_text_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = edited(tmp_path / "latin.tar", LOGGED, b"./runs/M\xfcll/log")
    assert load(path).options == load(LSE.checkpoint).options


def test_a_python_2_text_of_more_than_255_bytes_is_named_with_a_remedy(tmp_path: Path) -> None:
    short, long = b"U" + bytes([len(LOGGED)]) + LOGGED, b"T" + struct.pack("<i", 300) + b"x" * 300
    message = refusal(edited(tmp_path / "long.tar", short, long))
    assert "Python 2 pickled a text of more than 255 bytes" in message
    assert "len(str(v)) < 256" in message


def test_a_sum_of_recalls_that_is_numpys_number_is_read(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["best_rsum"] = np.float64(488.7)
    torch.save(content, tmp_path / "numpy.tar")
    assert load(tmp_path / "numpy.tar").vocab_size == 48
