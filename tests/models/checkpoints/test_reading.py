"""Checkpoints that must be refused, each with one line that names the file and the fault."""

from __future__ import annotations

import argparse
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints.reading import reason
from itr_deploy.models.checkpoints.reading import refusal as refusal_line
from itr_deploy.models.imram.checkpoint import load
from tests.support.golden import FULL
from tests.support.imram import golden_checkpoint, write_checkpoint


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path)), message
    assert_clean(message)
    assert caught.value.exit_code == 1
    return message


def assert_clean(message: str) -> None:
    """One line, and nothing of torch's advice to load unsafely."""
    assert len(message.splitlines()) == 1, message
    assert not re.search("weights.?only|Traceback", message, re.IGNORECASE), message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such checkpoint file" in refusal(tmp_path / "absent.tar")


@pytest.mark.parametrize("kept", [0.0, 0.0005, 0.01, 0.3, 0.7, 0.99, 0.99999])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    whole = FULL.checkpoint.read_bytes()
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[: int(len(whole) * kept)])
    message = refusal(path)
    assert re.search("truncated|refused|empty|a file that begins", message), message


@pytest.mark.parametrize(
    "content", [b"\x80", b"\x80\x02", b"not a checkpoint\n", b"PK\x03\x04rest"]
)
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    path.write_bytes(content)
    refusal(path)


def test_a_damaged_tensor_file_in_the_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tar"
    content = bytearray(FULL.checkpoint.read_bytes())
    at = content.find(b"data.pkl") + 200
    content[at : at + 64] = b"\xff" * 64
    path.write_bytes(bytes(content))
    refusal(path)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def torch_save(content: object, path: Path) -> None:
    torch.save(content, path)


def torch_save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("save", [torch_save, torch_save_legacy, plain_pickle])
@pytest.mark.parametrize("place", ["opt", "model", "alone"])
def test_code_in_a_checkpoint_is_refused_and_never_runs(
    place: str, save: Callable[[object, Path], None], tmp_path: Path
) -> None:
    evidence, path = tmp_path / "executed", tmp_path / "malicious.tar"
    payload = Payload(evidence)
    content = {"model": {}, "opt": argparse.Namespace(), "epoch": 1}
    save(payload if place == "alone" else {**content, place: payload}, path)

    load_unsafely = pickle.loads if save is plain_pickle else None
    if load_unsafely:
        load_unsafely(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert evidence.exists(), "the payload would do nothing anyway"
    evidence.unlink()

    message = refusal(path)
    assert not evidence.exists()
    assert "refused" in message
    if save is not plain_pickle:
        assert "exec" in message


def test_a_list_of_state_dicts_is_named_as_another_model(tmp_path: Path) -> None:
    path = tmp_path / "dime.tar"
    state = golden_checkpoint()["model"]
    torch.save({"model": [state, state, state], "opt": argparse.Namespace()}, path)
    message = refusal(path)
    assert "'model' is a list" in message
    assert "another model" in message


def test_a_checkpoint_without_a_memory_unit_is_named_as_another_model(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "other.tar", weights={"linear_t2i.weight": None})
    message = refusal(path)
    assert "not an IMRAM checkpoint" in message
    assert "linear_t2i.weight" in message


@pytest.mark.parametrize("key", ["model", "opt"])
def test_a_missing_part_is_named_with_what_is_there(key: str, tmp_path: Path) -> None:
    content = golden_checkpoint()
    del content[key]
    path = tmp_path / "partial.tar"
    torch.save(content, path)
    message = refusal(path)
    assert f"no {key!r} in the checkpoint" in message
    assert "epoch" in message


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], "text"])
def test_a_checkpoint_that_is_no_dictionary_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "bare.tar"
    torch.save(content, path)
    assert type(content).__name__ in refusal(path)


@pytest.mark.parametrize(
    "name", ["img_dim", "embed_size", "model_mode", "iteration_step", "raw_feature_norm"]
)
def test_a_missing_option_is_named(name: str, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "partial.tar", without=(name,))
    assert f"option {name!r} is missing" in refusal(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"embed_size": "24"}, ("embed_size='24'", "str", "int")),
        ({"iteration_step": 2.5}, ("iteration_step=2.5", "float")),
        ({"iteration_step": True}, ("iteration_step=True", "bool")),
        ({"no_imgnorm": "yes"}, ("no_imgnorm='yes'", "bool")),
        ({"bi_gru": False}, ("bi_gru=False",)),
        ({"embed_size": 10**30}, ("embed_size=1000", "out of range")),
        ({"img_dim": -(10**30)}, ("img_dim=", "out of range")),
        ({"num_layers": 10**6}, ("num_layers=1000000", "out of range")),
        ({"iteration_step": 10**6}, ("iteration_step=1000000", "out of range")),
        ({"lambda_softmax": float("nan")}, ("lambda_softmax=nan", "finite")),
        ({"lambda_softmax": 10**400}, ("lambda_softmax=", "expected float")),
        ({"embed_size": torch.ones(2)}, ("embed_size=tensor", "Tensor", "int")),
        ({"precomp_enc_type": "attention"}, ("precomp_enc_type='attention'", "weight_norm")),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_its_value(
    options: dict, words: tuple[str, ...], tmp_path: Path
) -> None:
    message = refusal(write_checkpoint(tmp_path / "options.tar", options=options))
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"raw_feature_norm": "l1norm"}, ("'l1norm'", "no defined score", "clipped_l2norm")),
        ({"raw_feature_norm": "clipped_l1norm"}, ("'clipped_l1norm'", "no defined score")),
        ({"raw_feature_norm": "l3norm"}, ("'l3norm'", "unknown")),
        ({"model_mode": "both_IMRAM"}, ("'both_IMRAM'", "text_IMRAM")),
        ({"iteration_step": 0}, ("iteration_step=0", "at least 1")),
    ],
)
def test_an_option_without_a_defined_score_is_refused(
    options: dict, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = write_checkpoint(tmp_path / "options.tar", options=options)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["img_enc.fc_local.weight", "gate_i2t.bias"])
def test_a_weight_of_another_shape_is_named_with_both_shapes(name: str, tmp_path: Path) -> None:
    weight = golden_checkpoint()["model"][f"module.{name}"]
    path = write_checkpoint(
        tmp_path / "shape.tar", weights={name: torch.zeros(7, *weight.shape[1:])}
    )
    message = refusal(path)
    assert name in message
    assert str([7, *weight.shape[1:]]) in message
    assert str(list(weight.shape)) in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(value: float, tmp_path: Path) -> None:
    name = "txt_enc.embed.weight"
    weight = golden_checkpoint()["model"][f"module.{name}"].clone()
    weight[3, 4] = value
    message = refusal(write_checkpoint(tmp_path / "nan.tar", weights={name: weight}))
    assert name in message
    assert "NaN or infinity" in message


@pytest.mark.parametrize("name", ["img_enc.fc_local.weight_g", "img_enc.fc_local.weight_v"])
def test_a_weight_norm_that_is_not_finite_is_refused(name: str, tmp_path: Path) -> None:
    weight = golden_checkpoint()["model"]["module.img_enc.fc_local.weight"]
    normed = {
        "img_enc.fc_local.weight": None,
        "img_enc.fc_local.weight_g": torch.tensor(1.0),
        "img_enc.fc_local.weight_v": weight,
    }
    normed[name] = torch.full_like(normed[name], float("nan"))
    path = write_checkpoint(
        tmp_path / "nan.tar", options={"precomp_enc_type": "weight_norm"}, weights=normed
    )
    assert "NaN or infinity" in refusal(path)


@pytest.mark.parametrize("scale", [None, torch.ones(24, 1)], ids=["none", "one a row"])
def test_a_weight_norm_without_its_one_scale_is_refused(
    scale: torch.Tensor | None, tmp_path: Path
) -> None:
    weight = golden_checkpoint()["model"]["module.img_enc.fc_local.weight"]
    path = write_checkpoint(
        tmp_path / "normed.tar",
        weights={"img_enc.fc_local.weight": None, "img_enc.fc_local.weight_v": weight}
        | ({} if scale is None else {"img_enc.fc_local.weight_g": scale}),
    )
    assert "img_enc.fc_local.weight" in refusal(path)


def test_missing_and_unknown_weights_are_named(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "missing.tar", weights={"gate_t2i.bias": None})
    assert "missing ['gate_t2i.bias']" in refusal(path)
    path = write_checkpoint(tmp_path / "unknown.tar", weights={"extra.bias": torch.zeros(2)})
    assert "unknown ['extra.bias']" in refusal(path)


def test_a_state_dict_without_the_parallel_prefix_is_read_alike(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = {k.removeprefix("module."): v for k, v in content["model"].items()}
    path = tmp_path / "single.tar"
    torch.save(content, path)
    expected = load(FULL.checkpoint).plain.state_dict()
    for name, weight in load(path).plain.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)


def test_half_precision_weights_are_taken_as_float32(tmp_path: Path) -> None:
    content = golden_checkpoint()
    content["model"] = {k: v.half() for k, v in content["model"].items()}
    path = tmp_path / "half.tar"
    torch.save(content, path)
    assert all(w.dtype == torch.float32 for w in load(path).plain.state_dict().values())


@pytest.mark.parametrize(
    "options",
    [{"embed_size": 10_000_000}, {"vocab_size": 10_000_000, "word_dim": 10_000_000}],
)
def test_sizes_that_the_weights_do_not_have_are_never_allocated(
    options: dict, tmp_path: Path
) -> None:
    assert "its options say" in refusal(write_checkpoint(tmp_path / "huge.tar", options=options))


def test_a_flipped_bit_in_a_weight_is_seen(tmp_path: Path) -> None:
    content = bytearray(FULL.checkpoint.read_bytes())
    with zipfile.ZipFile(FULL.checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    content[largest.header_offset + largest.file_size // 2] ^= 1
    path = tmp_path / "flipped.tar"
    path.write_bytes(bytes(content))
    torch.load(path, weights_only=False)  # PyTorch does not look
    message = refusal(path)
    assert largest.filename in message
    assert "checksum" in message


def test_a_checkpoint_saved_without_checksums_is_read(tmp_path: Path) -> None:
    path = tmp_path / "unchecked.tar"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(golden_checkpoint(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    load(path)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar"
    torch.save({"model": {}}, path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bomb/data/9", "w", force_zip64=True) as file,
    ):
        for _ in range(1100):
            file.write(bytes(1 << 20))
    assert "unpacks to" in refusal(path)


WHOLE = FULL.checkpoint.read_bytes()


@settings(deadline=None, max_examples=150)
@given(
    places=st.lists(st.integers(0, len(WHOLE) - 1), min_size=1, max_size=20),
    kept=st.one_of(st.just(len(WHOLE)), st.integers(0, len(WHOLE))),
    noise=st.binary(min_size=1, max_size=20),
)
def test_random_damage_is_one_clear_line(places: list[int], kept: int, noise: bytes) -> None:
    content = bytearray(WHOLE)
    for number, place in enumerate(places):
        content[place] = noise[number % len(noise)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.tar"
        path.write_bytes(content[:kept])
        message = ""
        try:
            load(path)
        except CheckpointError as error:
            message = str(error)
        if message:
            assert_clean(message)
            assert message.startswith(str(path))


PICKLED = pickle.dumps({"model": {"a": [1.5, "b"]}, "opt": argparse.Namespace(x=1)}, 2)


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, len(PICKLED) - 1), noise=st.binary(min_size=1, max_size=4))
def test_a_damaged_pickle_in_an_archive_is_one_clear_line(place: int, noise: bytes) -> None:
    content = PICKLED[:place] + noise + PICKLED[place + len(noise) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.tar"
        with zipfile.ZipFile(path, "w") as archive:
            files = {"data.pkl": content, "byteorder": b"little", "version": b"3\n"}
            for name, data in files.items():
                archive.writestr(f"whole/{name}", data)
        assert_clean(refusal(path))


WORDS = st.sampled_from(
    ["weights_only=False", "`weights_only`", "Weights only load failed.", "Traceback", "GLOBAL",
     "os.system", "set to", "False", "\n", "\r", "\x1b[31m", "\u2028", "enforce fail at", "."]
)  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.text(max_size=20)), max_size=20))
def test_no_message_of_torch_is_passed_on_with_its_advice(words: list[str]) -> None:
    for text in (reason(RuntimeError(" ".join(words))), refusal_line(" ".join(words))):
        assert len(text.splitlines()) == 1
        assert not re.search("weights.?only", text, re.IGNORECASE)
