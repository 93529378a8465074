from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError
from itr_deploy.models.imram.checkpoint import load as load_imram
from itr_deploy.models.layers import l2_norm
from itr_deploy.models.precision import matrix_precision
from itr_deploy.models.sgraf.checkpoint import load
from itr_deploy.models.sgraf.config import SgrafConfig
from itr_deploy.models.sgraf.deployed import SgrafDeployment
from itr_deploy.models.sgraf.plain import GraphReasoning, Sgraf
from itr_deploy.models.sgraf.reasoning import FoldedReasoning
from tests.support.lhsc import LHSC
from tests.support.sgraf import MODULES, SAF, SGR, SgrafCase

Items = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

EACH = pytest.mark.parametrize("case", MODULES, ids=lambda case: case.name)


def golden_items(case: SgrafCase) -> Items:
    ids, lengths = case.texts
    regions = case.inputs["images"]
    return torch.from_numpy(regions), torch.from_numpy(ids), torch.from_numpy(lengths)


@torch.inference_mode()
def deployed_scores(deployed: SgrafDeployment, items: Items) -> torch.Tensor:
    """All pairs through the exported form, ``[N, C]``."""
    regions, ids, lengths = items
    images = [tensor.unsqueeze(0) for tensor in deployed.encode_images(regions)[:-1]]
    texts = [tensor.unsqueeze(0) for tensor in deployed.encode_texts(ids, lengths)[:-1]]
    return deployed.match(texts, lengths.unsqueeze(0), images)[0].T


def assert_golden(found: torch.Tensor, case: SgrafCase, name: str) -> None:
    np.testing.assert_allclose(found, case.expected[name], rtol=0, atol=1e-5)


@EACH
def test_the_plain_model_gives_what_the_published_program_gives(case: SgrafCase) -> None:
    plain = load(case.checkpoint).plain
    regions, ids, lengths = golden_items(case)
    with torch.inference_mode():
        images, words = plain.encode_images(regions), plain.encode_texts(ids, lengths)
        captions = [
            plain.similarity.t_global_w(row[:length].unsqueeze(0))[0]
            for row, length in zip(words, lengths.tolist(), strict=True)
        ]
        assert_golden(images, case, "region_embeddings")
        assert_golden(words, case, "word_embeddings")
        assert_golden(plain.similarity.v_global_w(images), case, "image_global")
        assert_golden(torch.stack(captions), case, "caption_global")
        local = plain.similarity.local(images, words[1, : lengths[1]])
        assert_golden(local, case, "local_before_norm_caption1")
        assert_golden(plain.score(regions, ids, lengths), case, "scores")


@EACH
def test_the_deployed_model_gives_what_the_published_program_gives(case: SgrafCase) -> None:
    deployed = load(case.checkpoint).deployed
    regions, ids, lengths = golden_items(case)
    with torch.inference_mode():
        images, words = deployed.encode_images(regions), deployed.encode_texts(ids, lengths)
    assert_golden(images[0], case, "region_embeddings")
    assert_golden(images[1], case, "image_global")
    assert_golden(words[0], case, "word_embeddings")
    assert_golden(words[1], case, "caption_global")
    assert_golden(deployed_scores(deployed, (regions, ids, lengths)), case, "scores")


@EACH
def test_a_region_is_normalised_by_the_statistics_of_its_place(case: SgrafCase) -> None:
    """Over the width instead, a score moves by no more than 2e-3."""
    weights = {
        key.removeprefix("v_global_w."): value.numpy()
        for key, value in golden_checkpoint(case)["model"][2].items()
        if key.startswith("v_global_w.")
    }

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.0.weight"].T + weights[f"{name}.0.bias"]

    def normalised(name: str, x: np.ndarray, row: Any) -> np.ndarray:
        scale, shift, mean, variance = (
            weights[f"{name}.1.{key}"][row]
            for key in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift

    regions = case.expected["region_embeddings"]
    pooled = linear("embedding_global", regions.mean(axis=1))
    pooled = np.tanh(normalised("embedding_global", pooled, slice(None)))
    local = linear("embedding_local", regions)
    logits = np.stack(
        [
            linear(
                "embedding_common",
                np.tanh(normalised("embedding_local", local[:, row], row)) * pooled,
            )
            for row in range(36)
        ],
        axis=1,
    )
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = (shares * regions).sum(axis=1)
    vectors = total / np.linalg.norm(total, axis=1, keepdims=True)
    assert_golden(torch.from_numpy(vectors), case, "image_global")


@EACH
def test_the_state_dict_has_the_published_keys(case: SgrafCase) -> None:
    model = load(case.checkpoint).plain
    published = golden_checkpoint(case)["model"]
    for part, state in zip((model.image, model.text, model.similarity), published, strict=True):
        assert list(part.state_dict()) == list(state)


@EACH
def test_the_options_that_decide_scores_are_read_from_the_checkpoint(case: SgrafCase) -> None:
    trained = load(case.checkpoint)
    assert trained.options == {
        "image_dim": 32,
        "embed_dim": 32,
        "sim_dim": 16,
        "word_dim": 12,
        "vocab_size": 48,
        "module": case.name.upper(),
        "steps": 3 if case is SGR else 0,
        "regions": 36,
        "num_layers": 1,
        "bidirectional": True,
        "image_norm": True,
        "text_norm": True,
    }
    assert trained.text_options == {"ascii_case": True}


def random_model(seed: int = 0, **options: Any) -> Sgraf:
    """A small model in float64 with batch normalisations as training leaves them."""
    sizes = {"image_dim": 5, "embed_dim": 8, "sim_dim": 6, "word_dim": 4, "vocab_size": 11}
    torch.manual_seed(seed)
    model = Sgraf(SgrafConfig(**{**sizes, "regions": 7, **options})).double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, GraphReasoning):
            for layer in module.children():
                torch.nn.init.normal_(layer.weight)
    return model


def random_items(images: int, lengths: list[int], padding: int = 0, seed: int = 0) -> Items:
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 11, size=(len(lengths), max(lengths) + padding))
    ids[np.arange(ids.shape[1]) >= np.array(lengths)[:, None]] = 0
    features = torch.from_numpy(rng.standard_normal((images, 7, 5)))
    return features, torch.from_numpy(ids), torch.tensor(lengths)


@torch.inference_mode()
def plain_scores(model: Sgraf, items: Items) -> torch.Tensor:
    """The published computation with the norms' guard as the exported form has it.

    ``+ 1e-8`` and "at least 1e-8" differ where a norm is tiny; what is left is the arithmetic.
    """
    with ExitStack() as patches:
        for module in ("sgraf", "similarity"):
            patches.enter_context(
                patch(f"itr_deploy.models.{module}.plain.l2_norm_published", l2_norm)
            )
        return model.score(*items)


VARIANTS = st.sampled_from([("SAF", 0), ("SGR", 1), ("SGR", 2), ("SGR", 3)])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_options_and_shapes_are_deployed_as_published(data: st.DataObject) -> None:
    module, steps = data.draw(VARIANTS)
    model = random_model(
        seed=data.draw(st.integers(0, 1000)),
        module=module,
        steps=steps,
        num_layers=data.draw(st.integers(1, 2)),
        bidirectional=data.draw(st.booleans()),
        image_norm=data.draw(st.booleans()),
        text_norm=data.draw(st.booleans()),
    )
    items = random_items(
        images=data.draw(st.integers(1, 3)),
        lengths=data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4)),
        padding=data.draw(st.integers(0, 3)),
        seed=data.draw(st.integers(0, 1000)),
    )
    scores = deployed_scores(SgrafDeployment(model), items)
    np.testing.assert_allclose(scores, plain_scores(model, items), rtol=0, atol=1e-9)


PAIR_MODELS = {
    "SAF": SgrafDeployment(random_model(module="SAF", steps=0)),
    "SGR": SgrafDeployment(random_model(module="SGR", steps=3)),
}


@pytest.mark.parametrize("module", PAIR_MODELS)
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    padding=st.integers(0, 4),
    junk=st.integers(0, 10),
    order=st.randoms(use_true_random=False),
)
def test_a_pair_scores_the_same_alone_in_any_order_and_with_any_padding(
    module: str, lengths: list[int], padding: int, junk: int, order: Any
) -> None:
    deployed = PAIR_MODELS[module]
    regions, ids, counts = random_items(2, lengths)
    batch = deployed_scores(deployed, (regions, ids, counts))

    padded = torch.nn.functional.pad(ids, (0, padding), value=junk)
    padded[torch.arange(padded.shape[1]) >= counts.unsqueeze(1)] = junk
    assert_same(deployed_scores(deployed, (regions, padded, counts)), batch)

    places = list(range(len(lengths)))
    order.shuffle(places)
    shuffled = deployed_scores(deployed, (regions.flip(0), ids[places], counts[places]))
    assert_same(shuffled, batch.flip(0)[:, places])

    for text, length in enumerate(lengths):
        alone = regions[1:], ids[text : text + 1, :length], counts[text : text + 1]
        assert_same(deployed_scores(deployed, alone), batch[1:, text : text + 1])


def assert_same(scores: torch.Tensor, reference: torch.Tensor) -> None:
    torch.testing.assert_close(scores, reference, rtol=0, atol=1e-12)


def reasoning(scale: float, dtype: torch.dtype = torch.float64) -> tuple[Any, FoldedReasoning]:
    """Three steps as published, one after the other, and folded; ``scale`` is of their logits."""
    torch.manual_seed(1)
    steps = [GraphReasoning(8).to(dtype) for _ in range(3)]
    for step in steps:
        for layer in step.children():
            torch.nn.init.normal_(layer.weight)
        step.graph_query_w.weight.data *= scale

    def published(nodes: torch.Tensor) -> torch.Tensor:
        for step in steps:
            nodes = step(nodes)
        return nodes[:, 0]

    return published, FoldedReasoning(steps)


@pytest.mark.parametrize("scale", [1.0, 1e6])
@torch.inference_mode()
def test_no_padding_node_takes_part_in_any_softmax(scale: float) -> None:
    """With any logits: at the larger scale all of a query's may be far below -30000."""
    published, folded = reasoning(scale)
    nodes = l2_norm(torch.randn(40, 5, 8, dtype=torch.float64), -1)
    junk = 100 * torch.randn(40, 3, 8, dtype=torch.float64)
    local = torch.cat([nodes[:, 1:], junk], dim=1)
    mask = torch.tensor([[True] * 4 + [False] * 3])
    assert_same(folded(local, nodes[:, :1], mask), published(nodes))


@torch.inference_mode()
def test_half_precision_keeps_edges_that_would_overflow_it() -> None:
    published, folded = reasoning(1e5, torch.float32)
    nodes = l2_norm(torch.randn(40, 5, 8), -1)
    mask = torch.ones(1, 4, dtype=torch.bool)
    with matrix_precision("float16"):
        found = folded(nodes[:, 1:], nodes[:, :1], mask)
    expected = published(nodes)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


@EACH
@torch.inference_mode()
def test_a_score_moves_little_in_half_precision(case: SgrafCase) -> None:
    deployed = load(case.checkpoint).deployed
    with matrix_precision("float16"):
        scores = deployed_scores(deployed, golden_items(case))
    error = np.abs(scores.numpy() - case.expected["scores"]).max()
    assert 0 < error < 1e-2


def golden_checkpoint(case: SgrafCase) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(case.checkpoint, map_location="cpu", weights_only=True)


def saved(content: dict[str, Any], folder: Path) -> Path:
    path = folder / "model.tar"
    torch.save(content, path)
    return path


def refusal(content: dict[str, Any], folder: Path) -> str:
    """The one line with which a checkpoint is refused, which names the file."""
    path = saved(content, folder)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("case", "options", "words"),
    [
        (SAF, {"module_name": "AVE"}, ("module_name='AVE' has no score", "SAF and SGR")),
        (SGR, {"module_name": "saf"}, ("module_name='saf' has no score",)),
        (SAF, {"module_name": "SGR"}, ("module_name='SGR'", "those of SAF_module")),
        (SGR, {"module_name": "SAF"}, ("module_name='SAF'", "those of SGR_module")),
        (SGR, {"module_name": None}, ("'module_name' is missing",)),
        (SGR, {"sgr_step": 2}, ("sgr_step=2", "3 steps")),
        (SGR, {"sgr_step": 4}, ("sgr_step=4", "3 steps")),
        (SGR, {"sgr_step": "3"}, ("sgr_step='3'", "str", "int")),
        (SGR, {"bi_gru": False}, ("unknown ['cap_rnn.bias_hh_l0_reverse'",)),
        (SAF, {"bi_gru": None}, ("'bi_gru' is missing",)),
        (SAF, {"num_layers": 2}, ("missing ['cap_rnn.bias_hh_l1'",)),
        (SAF, {"sim_dim": 8}, ("sim_tranloc_w.weight", "[16, 32]", "[8, 32]")),
        (SAF, {"no_imgnorm": None}, ("'no_imgnorm' is missing",)),
        (SAF, {"no_txtnorm": 1}, ("no_txtnorm=1", "bool")),
    ],
)
def test_options_that_cannot_be_used_are_named(
    case: SgrafCase, options: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    content = golden_checkpoint(case)
    vars(content["opt"]).update(options)
    message = refusal(content, tmp_path)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("case", "part", "key", "name"),
    [
        (SAF, 0, "fc.bias", "image"),
        (SAF, 1, "cap_rnn.bias_ih_l0_reverse", "text"),
        (SAF, 2, "v_global_w.embedding_local.1.weight", "similarity"),
        (SAF, 2, "v_global_w.embedding_global.1.running_var", "similarity"),
        (SAF, 2, "t_global_w.embedding_common.0.bias", "similarity"),
        (SAF, 2, "SAF_module.bn.running_mean", "similarity"),
        (SGR, 2, "SGR_module.2.sim_graph_w.bias", "similarity"),
    ],
)
def test_a_missing_weight_is_named_with_its_part(
    case: SgrafCase, part: int, key: str, name: str, tmp_path: Path
) -> None:
    content = golden_checkpoint(case)
    del content["model"][part][key]
    assert f"SGRAF's {name} part: missing ['{key}']" in refusal(content, tmp_path)


def test_an_unknown_weight_is_named(tmp_path: Path) -> None:
    content = golden_checkpoint(SGR)
    content["model"][2]["AVE_module.fc.bias"] = torch.zeros(12)
    assert "unknown ['AVE_module.fc.bias']" in refusal(content, tmp_path)


def test_the_number_of_regions_is_that_of_the_weights(tmp_path: Path) -> None:
    content = golden_checkpoint(SGR)
    state = content["model"][2]
    for key in [key for key in state if "embedding_local.1" in key and "num_batches" not in key]:
        state[key] = state[key][:20]
    trained = load(saved(content, tmp_path))
    assert trained.deployed.regions == 20
    regions, ids, lengths = golden_items(SGR)
    items = regions[:, :20], ids, lengths
    with torch.inference_mode():
        expected = trained.plain.score(*items)
    np.testing.assert_allclose(deployed_scores(trained.deployed, items), expected, atol=1e-5)


def test_statistics_of_different_numbers_of_regions_are_refused(tmp_path: Path) -> None:
    content = golden_checkpoint(SAF)
    state = content["model"][2]
    state["v_global_w.embedding_local.1.running_mean"] = torch.zeros(20)
    message = refusal(content, tmp_path)
    assert "v_global_w.embedding_local.1.running_mean has shape [20]" in message


def test_one_direction_and_no_norms_are_read_as_trained(tmp_path: Path) -> None:
    content = golden_checkpoint(SGR)
    text = content["model"][1]
    content["model"][1] = {key: value for key, value in text.items() if "reverse" not in key}
    vars(content["opt"]).update(bi_gru=False, no_imgnorm=True, no_txtnorm=True)
    trained = load(saved(content, tmp_path))
    items = golden_items(SGR)
    with torch.inference_mode():
        words = trained.plain.encode_texts(*items[1:])
        expected = trained.plain.score(*items)
        embedded = torch.nn.functional.embedding(items[1], text["embed.weight"])
        output, _ = trained.plain.text.cap_rnn(embedded[:1, : items[2][0]])
    torch.testing.assert_close(words[0, : items[2][0]], output[0])  # not of length 1
    assert trained.deployed.image_tensors[0].unit is None
    np.testing.assert_allclose(deployed_scores(trained.deployed, items), expected, atol=1e-5)


@pytest.mark.parametrize(
    "change", [lambda model: model[:2], lambda model: [model[0], 3, model[2]], lambda model: 7]
)
def test_another_number_or_kind_of_parts_is_refused(change: Any, tmp_path: Path) -> None:
    content = golden_checkpoint(SAF)
    content["model"] = change(content["model"])
    assert "not a list of 3 state dicts" in refusal(content, tmp_path)


def test_three_state_dicts_of_something_else_are_refused(tmp_path: Path) -> None:
    content = golden_checkpoint(SAF)
    content["model"] = [{}, {}, {"fc.weight": torch.zeros(2)}]
    message = refusal(content, tmp_path)
    assert "not an SGRAF checkpoint" in message
    assert "starts with 'fc.weight'" in message


def test_a_checkpoint_of_lhsc_is_recognised() -> None:
    with pytest.raises(CheckpointError, match="another model, LHSC: itr-deploy export lhsc"):
        load(LHSC.checkpoint)


@EACH
def test_another_family_recognises_either_module(case: SgrafCase) -> None:
    with pytest.raises(CheckpointError, match="another model, SGRAF: itr-deploy export sgraf"):
        load_imram(case.checkpoint)
