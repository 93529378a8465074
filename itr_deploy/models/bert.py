"""BERT as a text encoder's first part: Hugging Face's model, built from a file of sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from itr_deploy.errors import CheckpointError
from itr_deploy.models.checkpoints.options import LARGEST
from itr_deploy.models.layers import MASKED, position_mask

ACTIVATIONS = ("gelu", "relu", "silu")

PREFIX = "bert."
"""Of BERT's keys in the state dict of a text encoder."""

UNUSED = (f"{PREFIX}pooler.", f"{PREFIX}embeddings.position_ids")
"""Beginnings of keys that no score depends on: the pooling layer, and a row of numbers that old
versions of BERT's program saved."""


@dataclass(frozen=True)
class BertSizes:
    """The entries of ``bert_config.json`` that affect a score; defaults are bert-base-uncased.

    The number of heads and the activation cannot be told from the weights.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            kind = type(entry.default)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise CheckpointError(
                    f"BERT's config: {entry.name}={value!r} is a {type(value).__name__}, "
                    f"expected {kind.__name__}"
                )
            if isinstance(value, (int, float)) and not 0 < value <= LARGEST:
                raise CheckpointError(
                    f"BERT's config: {entry.name}={value:.6g} must be positive and at most "
                    f"{LARGEST}"
                )
        if self.hidden_act not in ACTIVATIONS:
            raise CheckpointError(
                f"BERT's config: hidden_act={self.hidden_act!r} is unknown; "
                f"known: {', '.join(ACTIVATIONS)}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"BERT's config: hidden_size={self.hidden_size} does not divide into "
                f"num_attention_heads={self.num_attention_heads}"
            )

    @classmethod
    def from_json(cls, text: str) -> BertSizes:
        """Read the text of a ``bert_config.json``; entries that affect no score are ignored.

        Raises:
            CheckpointError: The text is not a BERT configuration.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"BERT's config is not JSON ({error}); give the bert_config.json of the training "
                "as bert_config= (--bert-config)"
            ) from error
        if not isinstance(content, dict) or "num_attention_heads" not in content:
            raise CheckpointError(
                "BERT's config has no num_attention_heads; expected the bert_config.json that the "
                "model was trained with"
            )
        names = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in names})

    def check(self, weights: Mapping[str, Tensor], *, source: Any) -> None:
        """Compare with the weights of a BERT, named as in Hugging Face's ``BertModel``.

        Raises:
            CheckpointError: A size differs; the message says what the weights have.
        """
        found = _sizes(weights)
        for name, size in found.items():
            if size != getattr(self, name):
                raise CheckpointError(
                    f"{source}: its BERT has {name}={size}, the config says {getattr(self, name)}; "
                    "give the bert_config.json of its training as bert_config= (--bert-config)"
                )


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """The sizes that can be read from weights."""
    shown = {
        "vocab_size": ("embeddings.word_embeddings.weight", 0),
        "hidden_size": ("embeddings.word_embeddings.weight", 1),
        "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
        "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
        "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
    }
    sizes = {
        name: int(weights[key].shape[axis])
        for name, (key, axis) in shown.items()
        if key in weights and weights[key].ndim == 2
    }
    prefix = "encoder.layer."
    layers = {key[len(prefix) :].split(".")[0] for key in weights if key.startswith(prefix)}
    return {**sizes, "num_hidden_layers": len(layers)}


def checked_sizes(weights: Mapping[str, Tensor], config: str, *, source: Any) -> BertSizes:
    """The sizes of a text encoder's BERT: its config's, or without one bert-base-uncased's.

    Args:
        weights: The text encoder's state dict; BERT's keys begin with `PREFIX`.
        config: The text of its ``bert_config.json``, empty for none.
        source: The checkpoint, for messages.

    Raises:
        CheckpointError: The config is not one, or the weights have other sizes.
    """
    sizes = BertSizes.from_json(config) if config else BertSizes()
    own = {key.removeprefix(PREFIX): w for key, w in weights.items() if key.startswith(PREFIX)}
    sizes.check(own, source=source)
    return sizes


def looks_untrained(weights: Mapping[str, Tensor]) -> bool:
    """Whether a text encoder's BERT is as it is initialised: training moves every layer norm."""
    norms = [
        (key, weight)
        for key, weight in weights.items()
        if key.startswith(PREFIX) and "LayerNorm." in key
    ]
    return all(bool((weight == key.endswith("weight")).all()) for key, weight in norms)


def build_bert(sizes: BertSizes) -> BertModel:
    """A BERT with random weights, computed with plain matrix products; nothing is downloaded.

    It has no pooling layer: no score uses one.
    """
    options: dict[str, Any] = {**vars(sizes), "attn_implementation": "eager"}
    config = BertConfig(**options)
    return BertModel(config, add_pooling_layer=False)


def last_layer(bert: BertModel, token_ids: Tensor, lengths: Tensor) -> Tensor:
    """BERT's last hidden states ``float32 [C, W, H]`` of ``int64 [C, W], int64 [C]``.

    The attention does not see padded positions, but they have states of their own. All tokens
    are of type 0.
    """
    real = position_mask(lengths, token_ids.shape[1])
    # An additive mask with all four axes is used as is. A plain one would make the exporter trace
    # how the library builds its mask, which depends on the values.
    mask = torch.where(real, 0.0, MASKED)[:, None, None, :]
    states: Tensor = bert(
        input_ids=token_ids, attention_mask=mask, token_type_ids=torch.zeros_like(token_ids)
    ).last_hidden_state
    return states
