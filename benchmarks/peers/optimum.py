"""optimum-onnx: what it makes of a model that is not one of Hugging Face's architectures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers.exported import session
from benchmarks.peers.registry import PEERS
from benchmarks.peers.table import Row
from benchmarks.peers.world import World


class Optimum:
    """Its exporter is asked for IMRAM, and for the BERT that DIME encodes texts with."""

    def prepare(self, world: World) -> None:
        """Nothing is made once."""

    def measure(self, world: World) -> Row:
        """A row of reasons."""
        told = (
            f"IMRAM: {_refusal(world)}; DIME's text encoder alone, a BERT of base width: {_bert()}"
        )
        peer = PEERS["optimum"]
        return Row(peer.title, peer.group, peer.version(), note=told)


def _refusal(world: World) -> str:
    from optimum.exporters.onnx import onnx_export_from_model

    from benchmarks.peers.plain import OneCaption, plain_model

    module = OneCaption(plain_model(world.shapes)).eval()
    with tempfile.TemporaryDirectory() as folder:
        try:
            onnx_export_from_model(
                module, folder, task="feature-extraction", library_name="transformers"
            )
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "exported"


def _bert() -> str:
    """Export it and compare with PyTorch."""
    import torch
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(num_hidden_layers=2), add_pooling_layer=False).eval()
    ids = torch.tensor([[101, 2000, 2001, 102]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with tempfile.TemporaryDirectory() as folder:
        onnx_export_from_model(model, Path(folder), task="feature-extraction", do_validation=False)
        graph = session(Path(folder) / "model.onnx")
        known = {one.name for one in graph.get_inputs()}
        fed = {**inputs, "token_type_ids": torch.zeros_like(ids)}
        found = graph.run(None, {name: fed[name].numpy() for name in known})[0]
    with torch.inference_mode():
        error = float(np.abs(found - model(**inputs).last_hidden_state.numpy()).max())
    return f"exported, off by {error:.0e}; matching is what takes the time"
