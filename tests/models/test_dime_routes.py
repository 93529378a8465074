"""Routes that are held closed, and the profile that selects them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.bundle.files import sha256_of
from itr_deploy.bundle.manifest import ProfileEvidence
from itr_deploy.errors import InputError, UsageError
from itr_deploy.models.contract import TrainedMatcher
from itr_deploy.models.dime.checkpoint import load
from itr_deploy.models.dime.counter import RouteCounter
from itr_deploy.models.dime.deployed import DimeDeployment
from itr_deploy.models.dime.options import DimeOptions
from itr_deploy.models.dime.plain import Dime
from itr_deploy.models.dime.profile import RouteProfile
from itr_deploy.models.dime.pruning import pruned
from itr_deploy.models.dime.routes import CELLS, PATHS, Routes

DATA = Path(__file__).parents[1] / "data" / "dime"
DIRECTIONS = ("i2t", "t2i")

wanted_routes = st.tuples(
    *(
        st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=paths, max_size=paths)
        for paths in PATHS
    )
)


@cache
def trained(direction: str) -> TrainedMatcher:
    return load_case(direction, gates="yes")


def load_case(direction: str, **options: object) -> TrainedMatcher:
    """A golden checkpoint with its BERT's config."""
    folder = DATA / direction
    given = {"bert_config": folder / "bert_config.json", **options}
    return load(folder / "model_best.pth.tar", DimeOptions.checked("dime", given))


def written(profile: RouteProfile, folder: Path) -> Path:
    path = folder / "routes.json"
    path.write_text(profile.model_dump_json())
    return path


@cache
def inputs(direction: str) -> tuple[torch.Tensor, ...]:
    stored = np.load(DATA / direction / "inputs.npz")
    return tuple(torch.from_numpy(stored[name]) for name in ("images", "input_ids", "lengths"))


def deployed_outputs(deployed: DimeDeployment, direction: str) -> list[np.ndarray]:
    """Outputs of all pairs, ``[texts, images, ...]``."""
    regions, ids, lengths = inputs(direction)
    with torch.inference_mode():
        stored = [t.shape for t in deployed.encode_images(regions)]
        assert len(stored) == len(deployed.image_tensors) + 1
        images = [t[None] for t in deployed.encode_images(regions)[:-1]]
        texts = [t[None] for t in deployed.encode_texts(ids, lengths)[:-1]]
        return [x[0].numpy() for x in deployed.match_outputs(texts, lengths[None], images)]


def evidence(checkpoint: str) -> ProfileEvidence:
    return ProfileEvidence(
        checkpoint_sha256=checkpoint, data_sha256="0" * 64, split="dev", images=6, captions=7
    )


def counted(direction: str) -> RouteProfile:
    model = trained(direction)
    assert isinstance(model.deployed, DimeDeployment)
    names = [output.name for output in model.deployed.pair_outputs]
    counter = RouteCounter()
    outputs = dict(zip(names, deployed_outputs(model.deployed, direction)[1:], strict=True))
    for text in range(len(outputs["paths_layer2"])):
        counter.add({name: values[text : text + 1] for name, values in outputs.items()})
    sha = sha256_of(DATA / direction / "model_best.pth.tar")
    return counter.profile(evidence(sha), None)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(wanted=wanted_routes)
@settings(max_examples=40, deadline=None)
def test_the_exported_form_leaves_out_what_the_plain_model_holds_at_0(
    direction: str, wanted: list[list[list[bool]]]
) -> None:
    model = trained(direction)
    assert isinstance(model.plain, Dime)
    # Masked but all computed: the plain form takes the gates as they are wanted.
    masked = pruned(model.plain, Routes(tuple(tuple(map(tuple, layer)) for layer in wanted))).eval()
    smaller = pruned(model.plain, Routes.keeping(wanted)).eval()
    with torch.inference_mode():
        expected = masked.score(*inputs(direction)).numpy()
    scores = deployed_outputs(DimeDeployment(smaller).eval(), direction)[0]
    np.testing.assert_allclose(scores.T, expected, atol=1e-5)


@given(wanted=wanted_routes)
def test_a_removed_cell_has_no_open_gate_and_nothing_stored(wanted: list[list[list[bool]]]) -> None:
    routes = Routes.keeping(wanted)
    for layer, rows in enumerate(routes.open):
        for cell, name in enumerate(CELLS):
            closed = not any(row[cell] for row in rows)
            assert (f"layer{layer}.{name}" in routes.removed()) == closed
    assert set(routes.removed()) <= {f"layer{k}.{name}" for k in range(3) for name in CELLS}


def test_a_path_to_a_cell_that_is_left_out_is_closed() -> None:
    wanted = [[[True] * 4 for _ in range(paths)] for paths in PATHS]
    for path in range(4):
        wanted[1][path][2] = False
    routes = Routes.keeping(wanted)
    assert "layer1.imrc" in routes.removed()
    assert {f"layer0.{cell}->layer1.imrc" for cell in CELLS} < set(routes.closed())


def test_what_only_a_closed_cell_reads_is_not_stored() -> None:
    wanted = [[[True, False, False, True] for _ in range(paths)] for paths in PATHS]
    wanted[1] = [[True, False, False, False]] * 4
    model = trained("i2t").plain
    assert isinstance(model, Dime)
    smaller = DimeDeployment(pruned(model, Routes.keeping(wanted)))
    assert [spec.name for spec in smaller.image_tensors] == ["local", "routing"]
    assert [spec.name for spec in smaller.text_tensors] == [
        *("local", "scale_0", "shift_0", "scale_2", "shift_2", "vector", "sign")
    ]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_profile_counts_what_the_published_program_gave(direction: str) -> None:
    expected = dict(np.load(DATA / direction / "expected.npz"))
    profile = counted(direction)
    assert profile.pairs == expected["scores"].size
    uses = {(use.layer, use.path, use.cell): use for use in profile.routes}
    for layer in range(2):
        gates = expected[f"paths_layer{layer}"].reshape(-1, 4, 4)
        for path in range(4):
            for cell, name in enumerate(CELLS):
                use = uses[layer, f"layer{layer + 1}.{CELLS[path]}", name]
                assert use.zero == pytest.approx((gates[:, path, cell] == 0).mean())
                assert use.share == pytest.approx(gates[:, path, cell].mean(), abs=1e-6)
    last = expected["paths_layer2"].reshape(-1, 4)
    closed = last < 1e-4 / 4
    total = (last + closed).sum(axis=1, keepdims=True)
    skips = [use for use in profile.skips if use.layer == 2]
    for cell, name in enumerate(CELLS):
        use = uses[2, "score", name]
        assert use.mean == pytest.approx(last[:, cell].mean(), abs=1e-6)
        assert use.share == pytest.approx((last / total)[:, cell].mean(), abs=1e-6)
        assert skips[cell].used == pytest.approx(closed[:, cell].mean())
        assert skips[cell].share == pytest.approx((closed / total)[:, cell].mean(), abs=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_pruning_at_threshold_0_changes_no_score_of_the_profiled_data(
    direction: str, tmp_path: Path
) -> None:
    smaller = load_case(direction, prune_routes=written(counted(direction), tmp_path))
    assert smaller.changed_from is not None
    assert smaller.changed_from.exact
    assert smaller.changed_from.pruning.closed
    assert isinstance(smaller.deployed, DimeDeployment)
    before = np.load(DATA / direction / "expected.npz")["scores"]
    np.testing.assert_allclose(
        deployed_outputs(smaller.deployed, direction)[0].T, before, atol=1e-5
    )
    regions, ids, lengths = inputs(direction)
    with torch.inference_mode():
        np.testing.assert_allclose(smaller.plain.score(regions, ids, lengths), before, atol=1e-5)


def test_a_higher_threshold_keeps_fewer_routes() -> None:
    profile = counted("i2t")
    counts = [len(profile.keeping(threshold).closed()) for threshold in (0, 0.1, 0.3, 0.9)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_gates_of_a_pruned_model_keep_their_shape(tmp_path: Path) -> None:
    smaller = load_case("t2i", gates="yes", prune_routes=written(counted("t2i"), tmp_path))
    assert isinstance(smaller.deployed, DimeDeployment)
    outputs = deployed_outputs(smaller.deployed, "t2i")[1:]
    expected = np.load(DATA / "t2i" / "expected.npz")
    for layer in range(3):
        gates = expected[f"paths_layer{layer}"]
        gates = np.broadcast_to(gates, outputs[layer].transpose(1, 0, 2, 3).shape)
        np.testing.assert_allclose(outputs[layer].transpose(1, 0, 2, 3), gates, atol=1e-5)


def test_the_picture_is_an_svg_of_every_cell_and_route() -> None:
    profile = counted("t2i")
    root = ElementTree.fromstring(profile.picture())
    space = "{http://www.w3.org/2000/svg}"
    titles = [node.text for node in root.iter(f"{space}title")]
    assert len(titles) == len(profile.routes)
    boxes = [node for node in root.iter(f"{space}rect") if node.get("class") in ("c", "u")]
    assert len(boxes) == 3 * len(CELLS) + 1
    skips = [node for node in root.iter(f"{space}path") if node.get("class") == "k"]
    assert len(skips) == sum(use.used > 0 for use in profile.skips)


class TestRefusals:
    def test_a_threshold_without_a_profile(self) -> None:
        with pytest.raises(UsageError, match=r"threshold=.*prune_routes="):
            load_case("i2t", threshold=0.1)

    def test_data_without_a_profile(self) -> None:
        with pytest.raises(UsageError, match=r"profiled_data=.*prune_routes="):
            load_case("i2t", profiled_data="data")

    def test_the_profile_of_another_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="another checkpoint"):
            load_case("i2t", prune_routes=written(counted("t2i"), tmp_path))

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kind": "other"}'])
    def test_what_is_not_a_profile(self, text: str, tmp_path: Path) -> None:
        path = tmp_path / "routes.json"
        path.write_text(text)
        with pytest.raises(InputError, match="not a route profile"):
            load_case("i2t", prune_routes=path)

    def test_a_profile_whose_routes_are_other_ones(self, tmp_path: Path) -> None:
        profile = counted("i2t")
        other = profile.model_copy(update={"routes": profile.routes[:-1]})
        with pytest.raises(InputError, match="not a route profile"):
            load_case("i2t", prune_routes=written(other, tmp_path))
