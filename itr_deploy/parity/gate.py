"""The gate: checks every graph output, independence of batch and padding, and ranks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from itr_deploy.bundle.manifest import HeldType, StoredTensor
from itr_deploy.bundle.modality import (
    EXPLAIN,
    MATCHERS,
    MODALITIES,
    PREFILTERS,
    REFINERS,
    Modality,
    direction_title,
)
from itr_deploy.errors import ParityError
from itr_deploy.evaluation.measures.collapse import collapse
from itr_deploy.models.contract import DeployedMatcher, TrainedMatcher
from itr_deploy.parity.encoded_samples import SampleEncoder
from itr_deploy.parity.report import (
    Comparison,
    ParityReport,
    RankComparison,
    compare,
    compare_ranks,
)
from itr_deploy.parity.samples import Sample, random_samples, rank_sample, tell_of_overflow
from itr_deploy.parity.storages import in_every_type
from itr_deploy.parity.tolerances import Tolerances
from itr_deploy.runtime.encoding.checks import NotFiniteError
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.matcher import Matcher
from itr_deploy.runtime.scorer import Scorer

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
Pairs = list[tuple[str, NDArray[Any], NDArray[Any]]]

PRODUCTS: Mapping[Modality, str] = {
    query: f"product, {direction_title(query)}" for query in MODALITIES
}
"""What scores pairs where there is no matcher, for the report."""


def verify(
    trained: TrainedMatcher,
    matcher: Matcher,
    *,
    tolerances: Tolerances | None = None,
    sample: Sample | None = None,
    whole: bool = False,
    progress: Progress = lambda step: None,
) -> ParityReport:
    """Compare a bundle with the model it was made from.

    Args:
        trained: The loaded checkpoint.
        matcher: The loaded bundle.
        tolerances: Allowed errors, on ``|a - b| / (1 + |b|)``; by default those for the type of
            its matchers' products.
        sample: Real images and texts to rank; random ones by default.
        progress: Called with the name of each step as it begins.
        whole: Whether every graph of the model must be there, as after an export; the bundles of
            older versions may lack a prefilter.

    Raises:
        ParityError: A graph is missing from a bundle that must be whole, or gives values that are
            NaN or infinite, which no search takes.
    """
    if tolerances is None:
        tolerances = Tolerances.of(matcher.bundle.manifest.matching)
    tell_of_overflow(trained)
    try:
        return _compared(trained, matcher, tolerances, sample, progress, whole)
    except NotFiniteError as error:
        raise ParityError(f"{matcher.bundle.path} differs from PyTorch: {error}") from error


def _compared(
    trained: TrainedMatcher,
    matcher: Matcher,
    tolerances: Tolerances,
    sample: Sample | None,
    progress: Progress,
    whole: bool,
) -> ParityReport:
    progress("outputs of every graph")
    gate = _Gate(trained, matcher, tolerances, random_samples(trained))
    outputs = [
        *gate.encoder_outputs(),
        *gate.matcher_outputs(),
        *gate.prefilter_outputs(),
        *gate.refiner_outputs(),
        *gate.pair_outputs(),
        *gate.attention(),
    ]
    invariance, unchecked = list[Comparison](), list[str]()
    if gate.has_prefilter and matcher.prefilter is None:
        if whole:
            raise ParityError("the bundle lacks the model's prefilter; no bundle was written")
        unchecked.append("the prefilter: the bundle has none, an older itr-deploy exported it")
    if gate.has_refiner and matcher.refiner is None:
        if whole:
            raise ParityError("the bundle lacks the model's refiner; no bundle was written")
        unchecked.append("the refiner: the bundle has none, an older itr-deploy exported it")
    if gate.attends and not gate.explains:
        if whole:
            raise ParityError("the bundle lacks what explains pairs; no bundle was written")
        unchecked.append("the attention: the bundle has none, an older itr-deploy exported it")
    if matcher.bundle.manifest.front is not None:
        unchecked.append("the coarse embedding: the dual encoder's, compared by cascade")
    if trained.deployed.padded_together is None:
        progress("independence of batch and padding")
        invariance = gate.invariance(1)
    else:
        unchecked.append(
            "independence of batch and padding: the padding of "
            f"{trained.deployed.padded_together} consecutive texts takes part in their encoding"
        )
    progress("ranks")
    ranks = gate.ranks(sample or rank_sample(trained))
    return ParityReport(
        matcher.backend.description, tuple(outputs), tuple(invariance), ranks, tuple(unchecked)
    )


class _Gate:
    """The checks; scores come from what a search calls: `Matcher.encode_...` and `Scorer`."""

    def __init__(
        self, trained: TrainedMatcher, matcher: Matcher, tolerances: Tolerances, given: list[Sample]
    ) -> None:
        self._trained = trained
        self._matcher = matcher
        self._tolerances = tolerances
        self._scoring = trained.deployed if isinstance(trained.deployed, DeployedMatcher) else None
        self._names: Mapping[Modality, str] = MATCHERS if self._scoring else PRODUCTS
        self._storages = matcher.bundle.manifest.storages
        self._encoder = SampleEncoder(trained.deployed, matcher)
        self._samples = given
        self._forms = [self._encoder.forms(sample) for sample in given]
        self._encoded: dict[Sample, dict[Modality, tuple[Tensor, ...]]] = {}

    @property
    def has_prefilter(self) -> bool:
        """Whether the model has a prefilter."""
        return self._scoring is not None and bool(self._scoring.prefilter_image_tensors)

    @property
    def has_refiner(self) -> bool:
        """Whether the model has a refiner."""
        return self._scoring is not None and bool(self._scoring.refine_image_tensors)

    @property
    def attends(self) -> bool:
        """Whether the model attends from words to regions or the other way round."""
        return self._scoring is not None and bool(self._scoring.attention_steps)

    @property
    def explains(self) -> bool:
        """Whether the bundle has the graph that tells of it."""
        graphs = self._matcher.bundle.manifest.graphs.values()
        return any(graph.role == EXPLAIN for graph in graphs)

    def encoder_outputs(self) -> list[Comparison]:
        """Every output of both encoders, padding included."""
        outputs = dict[str, Pairs]()
        # A cascade's embedding is its dual encoder's.
        own = self._matcher.bundle.manifest.front is None
        for sample in self._samples:
            references = self._references(sample)
            for modality in MODALITIES:
                got = self._encoder.outputs(modality, sample)
                names = [*self._encoder.stored(modality), *(["embedding"] if own else [])]
                for name, reference in zip(names, references[modality], strict=own):
                    key = f"{modality}_{name}"
                    pair = (sample.name, got[key], reference.numpy())
                    outputs.setdefault(key, []).append(pair)
        # No score depends on the embedding, but shortlists do: it is always compared.
        stored = self._tolerances.encoders
        embedding = self._tolerances.scores["float32"] if stored is None else stored
        return [
            compare(name, pairs, embedding if name.endswith("_embedding") else stored)
            for name, pairs in outputs.items()
        ]

    def matcher_outputs(self) -> list[Comparison]:
        """Scores of every matcher graph, or products, compared with the published computation."""
        references = [self._plain_scores(sample) for sample in self._samples]
        return self._scores(self._matcher.scorer, self._names, references)

    def prefilter_outputs(self) -> list[Comparison]:
        """Scores of every prefilter graph, compared with the exported form in PyTorch."""
        scorer = self._matcher.prefilter
        if scorer is None:
            return []
        deployed = self._scoring
        assert deployed is not None
        names = deployed.prefilter_text_tensors, deployed.prefilter_image_tensors
        references = [self._partial(deployed.prefilter, *names, sample) for sample in self._samples]
        return self._scores(scorer, PREFILTERS, references)

    def refiner_outputs(self) -> list[Comparison]:
        """Scores of every refiner graph, compared with the exported form in PyTorch."""
        scorer = self._matcher.refiner
        if scorer is None:
            return []
        deployed = self._scoring
        assert deployed is not None
        names = deployed.refine_text_tensors, deployed.refine_image_tensors
        references = [self._partial(deployed.refine, *names, sample) for sample in self._samples]
        return self._scores(scorer, REFINERS, references)

    def _scores(
        self,
        scorer: Scorer,
        names: Mapping[Modality, str],
        references: list[NDArray[np.floating]],
    ) -> list[Comparison]:
        """Scores of shared and of own candidates per query; references are ``[images, texts]``."""
        outputs: dict[tuple[str, HeldType], Pairs] = {}
        manifest = self._matcher.bundle.manifest
        for forms, reference in zip(self._forms, references, strict=True):
            for form in forms:
                for queries, gallery in form.directions:
                    by_query = reference.T if queries.modality == "text" else reference
                    for storage, stored in in_every_type(scorer, gallery, manifest):
                        found = _candidate_pairs(scorer, queries, stored, by_query, form.name)
                        key = names[queries.modality], storage
                        outputs.setdefault(key, []).extend(found)
        return [
            compare(f"{name}, {storage}", pairs, self._tolerances.scores[storage], storage)
            for (name, storage), pairs in outputs.items()
        ]

    def pair_outputs(self) -> list[Comparison]:
        """The matcher graphs' other outputs per pair, compared with PyTorch's exported form."""
        deployed, outputs = self._scoring, dict[str, Pairs]()
        for sample, forms in zip(self._samples, self._forms, strict=True):
            if deployed is None or not deployed.pair_outputs:
                break
            with torch.inference_mode():
                found = deployed.match_outputs(*self._group(sample))[1:]
            for form in forms:
                for queries, gallery in form.directions:
                    for output, reference in zip(deployed.pair_outputs, found, strict=True):
                        got = self._matcher.scorer.score_with(queries, gallery, output.name)[1]
                        by_text = reference[0]
                        text = queries.modality == "text"
                        expected = by_text if text else by_text.transpose(0, 1)
                        name = f"{MATCHERS[queries.modality]} {output.name}"
                        outputs.setdefault(name, []).append((form.name, got, expected.numpy()))
        tolerance = self._tolerances.pairs
        return [compare(name, pairs, tolerance) for name, pairs in outputs.items()]

    def attention(self) -> list[Comparison]:
        """What attends to what in every pair, compared with PyTorch's exported form."""
        deployed, outputs = self._scoring, dict[str, Pairs]()
        if deployed is None or not (self.attends and self.explains):
            return []
        for sample in self._samples:
            with torch.inference_mode():
                _, found = deployed.match_and_attend(*self._group(sample))
            got = self._explained(sample)
            for name, reference in zip(("attention", "word_scores"), found, strict=True):
                expected = reference[0].flatten(0, 1).numpy()
                outputs.setdefault(name, []).append((sample.name, got[name], expected))
        tolerance = self._tolerances.pairs
        return [compare(name, pairs, tolerance) for name, pairs in outputs.items()]

    def _explained(self, sample: Sample) -> dict[str, NDArray[np.float32]]:
        """What the graph tells of every text with every image, the texts in the outer loop."""
        texts = self._encoder.outputs("text", sample) | {"text_lengths": sample.lengths}
        images = self._encoder.outputs("image", sample)
        manifest, count = self._matcher.bundle.manifest, len(sample.lengths)
        inputs: dict[str, NDArray[Any]] = {}
        for given in manifest.graphs[manifest.graph(EXPLAIN)].inputs:
            if given.name in texts:
                inputs[given.name] = np.repeat(texts[given.name], sample.count, axis=0)
            else:
                inputs[given.name] = np.concatenate([images[given.name]] * count)
        return self._matcher.backend.run(manifest.graph(EXPLAIN), inputs)

    def invariance(self, place: int) -> list[Comparison]:
        """Scores with more padding and of every pair alone, compared with the batch's."""
        sample, forms = self._samples[place], self._forms[place]
        score = self._matcher.scorer.score_all
        batch = score(forms[-1].texts, forms[-1].images)
        comparisons: dict[str, Pairs] = {}
        if self._trained.deployed.text_length is None:
            ids = np.pad(sample.token_ids, ((0, 0), (0, 9)))
            padded = replace(sample, token_ids=ids)
            scores = score(self._encoder.padded_together(padded), forms[-1].images)
            comparisons["9 more padded words"] = [(padded.name, scores, batch)]
        for form in forms[:-1]:
            pair = (form.name, score(form.texts, form.images), batch)
            comparisons["texts of similar lengths together"] = [pair]
        images = [
            self._matcher.encode_images(sample.given(slice(place, place + 1)))
            for place in range(sample.count)
        ]
        alone = comparisons["every pair alone"] = []
        for text, length in enumerate(sample.lengths):
            ids, lengths = sample.token_ids[text, None, :length], sample.lengths[text, None]
            encoded = self._matcher.encode_token_ids(ids, lengths)
            for image, own in enumerate(images):
                part = batch[text, None, image, None]
                alone.append((f"text {text}, image {image}", score(encoded, own), part))
        tolerance = self._tolerances.invariance
        return [compare(name, pairs, tolerance) for name, pairs in comparisons.items()]

    def ranks(self, sample: Sample) -> tuple[RankComparison, ...]:
        """Rankings in both directions, per storage type, compared with the plain model's."""
        reference, allowed = self._plain_scores(sample), self._tolerances
        collapsed = collapse(reference)
        if collapsed is not None:
            log.warning("%s (by the scores of %s)", collapsed, sample.name)
        form, found = self._encoder.as_searched(sample), []
        for storage in self._storages:
            tolerance, keep = 2 * allowed.scores[storage], allowed.best_kept.get(storage)
            for queries, gallery in form.directions:
                by_query = reference.T if queries.modality == "text" else reference
                got = self._matcher.scorer.score_all(queries, gallery.stored_as(storage))
                name = f"{self._names[queries.modality]}, {storage}"
                found.append(compare_ranks(name, got, by_query, tolerance, keep, storage))
        return tuple(found)

    def _plain_scores(self, sample: Sample) -> NDArray[np.floating]:
        with torch.inference_mode():
            scores: NDArray[np.floating] = self._trained.plain.score(*sample.tensors()).numpy()
        return scores

    def _partial(
        self,
        score: Callable[..., Tensor],
        text_names: Sequence[str],
        image_names: Sequence[str],
        sample: Sample,
    ) -> NDArray[np.floating]:
        """Scores ``[images, texts]`` by a part of the matcher, from the tensors that it reads."""
        deployed = self._scoring
        assert deployed is not None
        texts, lengths, images = self._group(sample)
        text = _named(deployed.text_tensors, texts)
        image = _named(deployed.image_tensors, images)
        with torch.inference_mode():
            scores: NDArray[np.floating] = score(
                [text[name] for name in text_names],
                lengths,
                [image[name] for name in image_names],
            )[0].T.numpy()
        return scores

    def _references(self, sample: Sample) -> dict[Modality, tuple[Tensor, ...]]:
        """What PyTorch's exported form encodes a sample to; each is encoded once."""
        if sample not in self._encoded:
            deployed = self._trained.deployed
            with torch.inference_mode():
                self._encoded[sample] = {
                    "image": deployed.encode_given(sample.image_tensors()),
                    "text": deployed.encode_texts(*sample.text_tensors()),
                }
        return self._encoded[sample]

    def _group(self, sample: Sample) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """The texts' tensors, lengths and the images' tensors of `match`, as one group."""
        encoded, lengths = self._references(sample), sample.text_tensors()[1]
        with torch.inference_mode():
            texts = [tensor[None] for tensor in encoded["text"][:-1]]
            images = [tensor[None] for tensor in encoded["image"][:-1]]
            return texts, lengths[None], images


def _candidate_pairs(
    scorer: Scorer,
    queries: Encoded,
    gallery: Encoded,
    reference: NDArray[np.floating],
    name: str,
) -> Pairs:
    """Scores of all items, shared by the queries, and of three items of each query's own."""
    count, items = reference.shape
    own = (np.arange(count)[:, None] + np.arange(min(items, 3))[::-1]) % items
    chosen = scorer.score_candidates(queries, gallery, own)
    return [
        (f"{name}, shared candidates", scorer.score_all(queries, gallery), reference),
        (f"{name}, own", chosen, np.take_along_axis(reference, own, axis=1)),
    ]


def _named(specs: Sequence[StoredTensor], encoded: Sequence[Tensor]) -> dict[str, Tensor]:
    """An encoder's outputs, by the names of the stored tensors."""
    return {spec.name: tensor for spec, tensor in zip(specs, encoded, strict=False)}
