"""The gate: every graph output, independence of batch and padding, and ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itr_deploy.bundle.manifest import StorageType
from itr_deploy.bundle.modality import MATCHERS, PREFILTERS, GraphRole, Modality, Roles
from itr_deploy.models.contract import StoredTensor, TrainedMatcher
from itr_deploy.parity.report import Comparison, ParityReport, compare, compare_ranks
from itr_deploy.parity.samples import Sample, random_samples, rank_sample
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.encoding.encoded import Encoded, pad_positions
from itr_deploy.runtime.encoding.storage import stored
from itr_deploy.runtime.matcher import Matcher

Progress = Callable[[str], None]
Pairs = list[tuple[str, NDArray[Any], NDArray[Any]]]


def verify(
    trained: TrainedMatcher,
    matcher: Matcher,
    *,
    tolerances: Tolerances | None = None,
    sample: Sample | None = None,
    progress: Progress = lambda step: None,
) -> ParityReport:
    """Compare a bundle with the model it was made from.

    Args:
        trained: The checkpoint, read.
        matcher: The bundle, loaded.
        tolerances: What is allowed, on ``|a - b| / (1 + |b|)``; by default that of
            its matchers' products.
        sample: Real images and texts to rank; random ones by default.
        progress: Called with the name of each step as it begins.
    """
    if tolerances is None:
        tolerances = Tolerances.of(matcher.bundle.manifest.matching)
    gate = _Gate(trained, matcher, tolerances)
    progress("outputs of every graph")
    samples = random_samples(trained)
    outputs = [
        *gate.encoder_outputs(samples),
        *gate.matcher_outputs(samples),
        *gate.prefilter_outputs(samples),
        *gate.pair_outputs(samples),
    ]
    invariance, unchecked = list[Comparison](), tuple[str, ...]()
    if trained.deployed.padded_together is None:
        progress("independence of batch and padding")
        invariance = gate.invariance(samples[1])
    else:
        unchecked = (
            "independence of batch and padding: the padding of "
            f"{trained.deployed.padded_together} consecutive texts takes part in their encoding",
        )
    progress("ranks")
    ranks = gate.ranks(sample or rank_sample(trained))
    return ParityReport(
        matcher.backend.description, tuple(outputs), tuple(invariance), ranks, unchecked
    )


class _Gate:
    def __init__(self, trained: TrainedMatcher, matcher: Matcher, tolerances: Tolerances) -> None:
        self._trained = trained
        self._matcher = matcher
        self._tolerances = tolerances
        self._storages = matcher.bundle.manifest.storages

    def encoder_outputs(self, samples: list[Sample]) -> list[Comparison]:
        """Every output of both encoders, padding included."""
        deployed, outputs = self._trained.deployed, dict[str, Pairs]()
        for sample in samples:
            regions, ids, lengths = sample.tensors()
            with torch.inference_mode():
                references = {
                    "image": deployed.encode_images(regions),
                    "text": deployed.encode_texts(ids, lengths),
                }
            for modality in ("image", "text"):
                got = self._encode(modality, sample)
                names = [*self._stored(modality), "embedding"]
                for name, reference in zip(names, references[modality], strict=True):
                    key = f"{modality}_{name}"
                    pair = (sample.name, got[key], reference.numpy())
                    outputs.setdefault(key, []).append(pair)
        # A shortlist reads the embedding, and no score does.
        stored = self._tolerances.encoders
        embedding = self._tolerances.scores["float32"] if stored is None else stored
        return [
            compare(name, pairs, embedding if name.endswith("_embedding") else stored)
            for name, pairs in outputs.items()
        ]

    def matcher_outputs(self, samples: list[Sample]) -> list[Comparison]:
        """Scores of every matcher graph, against the published computation."""
        return self._scores(MATCHERS, [(sample, self._plain_scores(sample)) for sample in samples])

    def prefilter_outputs(self, samples: list[Sample]) -> list[Comparison]:
        """Scores of every prefilter graph, against PyTorch's form."""
        if not self._trained.deployed.prefilter_image_tensors:
            return []
        return self._scores(
            PREFILTERS, [(sample, self._prefilter_scores(sample)) for sample in samples]
        )

    def _scores(
        self, roles: Roles, references: list[tuple[Sample, NDArray[np.floating]]]
    ) -> list[Comparison]:
        """With shared candidates and with each query's own; a reference is ``[images, texts]``."""
        outputs: dict[tuple[str, StorageType], Pairs] = {}
        for sample, reference in references:
            for modality, role in roles.items():
                by_query = reference.T if modality == "text" else reference
                for storage in self._storages:
                    pairs = self._candidate_pairs(role, modality, storage, sample, by_query)
                    outputs.setdefault((role, storage), []).extend(pairs)
        return [
            compare(f"{role}, {storage}", pairs, self._tolerances.scores[storage], storage)
            for (role, storage), pairs in outputs.items()
        ]

    def pair_outputs(self, samples: list[Sample]) -> list[Comparison]:
        """What the matcher graphs tell of a pair besides its score, against PyTorch's form."""
        deployed, outputs = self._trained.deployed, dict[str, Pairs]()
        for sample in samples if deployed.pair_outputs else ():
            regions, ids, lengths = sample.tensors()
            with torch.inference_mode():
                texts = [tensor[None] for tensor in deployed.encode_texts(ids, lengths)[:-1]]
                images = [tensor[None] for tensor in deployed.encode_images(regions)[:-1]]
                found = deployed.match_outputs(texts, lengths[None], images)[1:]
            items = {"text": len(regions), "image": len(lengths)}
            for modality in ("text", "image"):
                everything = np.arange(items[modality])[None]
                role = MATCHERS[modality]
                got = self._outputs(role, modality, "float32", sample, everything)
                for output, reference in zip(deployed.pair_outputs, found, strict=True):
                    expected = reference[0] if modality == "text" else reference[0].transpose(0, 1)
                    pair = (sample.name, got[output.name], expected.numpy())
                    outputs.setdefault(f"{role} {output.name}", []).append(pair)
        tolerance = self._tolerances.pairs
        return [compare(name, pairs, tolerance) for name, pairs in outputs.items()]

    def _candidate_pairs(
        self,
        role: GraphRole,
        modality: Modality,
        storage: StorageType,
        sample: Sample,
        reference: NDArray[np.floating],
    ) -> Pairs:
        queries, items = reference.shape
        everything = np.arange(items)[None]
        shared = self._outputs(role, modality, storage, sample, everything)["scores"]
        own = (np.arange(queries)[:, None] + np.arange(min(items, 3))[::-1]) % items
        chosen = self._outputs(role, modality, storage, sample, own)["scores"]
        return [
            (f"{sample.name}, shared candidates", shared, reference),
            (f"{sample.name}, own", chosen, np.take_along_axis(reference, own, axis=1)),
        ]

    def invariance(self, sample: Sample) -> list[Comparison]:
        """Scores with more padding, and of every pair alone, against the batch's."""
        everything = np.arange(len(sample.regions))[None]
        batch = self._match("text", "float32", sample, everything)
        comparisons: dict[str, Pairs] = {"every pair alone": []}
        if self._trained.deployed.text_length is None:
            ids = np.pad(sample.token_ids, ((0, 0), (0, 9)))
            padded = Sample(sample.regions, ids, sample.lengths)
            scores = self._match("text", "float32", padded, everything)
            comparisons["9 more padded words"] = [(padded.name, scores, batch)]
        for text, length in enumerate(sample.lengths):
            cut = self._trained.deployed.text_length or length
            for image in range(len(sample.regions)):
                alone = Sample(
                    sample.regions[image : image + 1],
                    np.ascontiguousarray(sample.token_ids[text : text + 1, :cut]),
                    sample.lengths[text : text + 1],
                )
                score = self._match("text", "float32", alone, np.zeros((1, 1), np.int64))
                part = batch[text : text + 1, image : image + 1]
                comparisons["every pair alone"].append((alone.name, score, part))
        tolerance = self._tolerances.invariance
        return [compare(name, pairs, tolerance) for name, pairs in comparisons.items()]

    def ranks(self, sample: Sample) -> tuple[Any, ...]:
        """Rankings both ways, for every storage type, against the plain model's."""
        reference, allowed = self._plain_scores(sample), self._tolerances
        found = []
        for storage in self._storages:
            tolerance, keep = 2 * allowed.scores[storage], allowed.best_kept.get(storage)
            directions: dict[Modality, NDArray[np.floating]]
            directions = {"text": reference.T, "image": reference}
            for modality, by_query in directions.items():
                everything = np.arange(by_query.shape[1])[None]
                got = self._match(modality, storage, sample, everything)
                name = f"{MATCHERS[modality]}, {storage}"
                found.append(compare_ranks(name, got, by_query, tolerance, keep, storage))
        return tuple(found)

    def _plain_scores(self, sample: Sample) -> NDArray[np.floating]:
        with torch.inference_mode():
            scores: NDArray[np.floating] = self._trained.plain.score(*sample.tensors()).numpy()
        return scores

    def _prefilter_scores(self, sample: Sample) -> NDArray[np.floating]:
        deployed = self._trained.deployed
        regions, ids, lengths = sample.tensors()
        with torch.inference_mode():
            texts = _named(deployed.text_tensors, deployed.encode_texts(ids, lengths))
            images = _named(deployed.image_tensors, deployed.encode_images(regions))
            scores: NDArray[np.floating] = deployed.prefilter(
                [texts[name][None] for name in deployed.prefilter_text_tensors],
                lengths[None],
                [images[name][None] for name in deployed.prefilter_image_tensors],
            )[0].T.numpy()
        return scores

    def _encode(self, modality: Modality, sample: Sample) -> dict[str, NDArray[np.float32]]:
        run = self._matcher.backend.run
        if modality == "image":
            return run("image_encoder", {"regions": sample.regions})
        inputs = {"token_ids": sample.token_ids, "text_lengths": sample.lengths}
        return run("text_encoder", inputs)

    def _match(
        self,
        modality: Modality,
        storage: StorageType,
        sample: Sample,
        candidates: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Scores ``[queries, K]`` of one matcher graph."""
        return self._outputs(MATCHERS[modality], modality, storage, sample, candidates)["scores"]

    def _outputs(
        self,
        role: GraphRole,
        modality: Modality,
        storage: StorageType,
        sample: Sample,
        candidates: NDArray[np.int64],
    ) -> dict[str, NDArray[np.float32]]:
        """All outputs of one graph that scores pairs, its inputs from the bundle's encoders."""
        other: Modality = "image" if modality == "text" else "text"
        queries, gallery = self._items(modality, sample), self._items(other, sample)
        graph = self._matcher.bundle.manifest.graph(role, storage)
        read = {given.name for given in self._matcher.bundle.manifest.graphs[graph].inputs}
        inputs: dict[str, NDArray[Any]] = {"candidates": candidates, "text_lengths": sample.lengths}
        sides: list[tuple[Modality, dict[str, NDArray[np.float32]], StorageType]]
        sides = [(modality, queries, "float32"), (other, gallery, storage)]
        for side, found, kind in sides:
            names = [f"{side}_{name}" for name in self._stored(side)]
            inputs |= stored({name: found[name] for name in names if name in read}, kind)
        return self._matcher.backend.run(graph, inputs)

    def _items(self, modality: Modality, sample: Sample) -> dict[str, NDArray[np.float32]]:
        """What a matcher graph reads of a sample's items."""
        if modality == "text" and self._trained.deployed.padded_together is not None:
            # As the runtime pads them: a sample's own padding would take part.
            return _in_one_block(self._matcher.encode_token_ids(sample.token_ids, sample.lengths))
        return self._encode(modality, sample)

    def _stored(self, modality: Modality) -> list[str]:
        deployed = self._trained.deployed
        specs: tuple[StoredTensor, ...] = (
            deployed.image_tensors if modality == "image" else deployed.text_tensors
        )
        return [spec.name for spec in specs]


def _named(specs: Sequence[StoredTensor], encoded: Sequence[Tensor]) -> dict[str, Tensor]:
    """What an encoder gives, by the names of what is stored of it."""
    return {spec.name: tensor for spec, tensor in zip(specs, encoded, strict=False)}


def _in_one_block(texts: Encoded) -> dict[str, NDArray[np.float32]]:
    """The tensors of texts in their order, all padded to the longest."""
    longest = max(block.positions for block in texts.blocks)
    order = np.argsort(np.concatenate([block.rows for block in texts.blocks]))
    tensors = {}
    for name, first in texts.blocks[0].tensors.items():
        parts = [block.tensors[name] for block in texts.blocks]
        if first.ndim == 3:
            parts = [pad_positions(part, longest) for part in parts]
        tensors[f"text_{name}"] = np.concatenate(parts)[order]
    return tensors
