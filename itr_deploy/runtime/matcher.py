"""The matcher of a bundle: encode texts and images, score their pairs."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from itr_deploy.bundle.consistency import check_consistent
from itr_deploy.bundle.modality import PREFILTERS, REFINERS, Modality
from itr_deploy.bundle.store import Bundle, read_bundle
from itr_deploy.errors import InputError
from itr_deploy.runtime.backends import Backend, open_backend
from itr_deploy.runtime.cpus import available_cores
from itr_deploy.runtime.detector.detector import BACKEND, Detector
from itr_deploy.runtime.detector.images import check_fits
from itr_deploy.runtime.encoding.encoded import Encoded
from itr_deploy.runtime.encoding.images import Unencoded, several_images
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.sources import ImageSource, TextSource, source
from itr_deploy.runtime.explainer import Explainer
from itr_deploy.runtime.explanation import Explanation
from itr_deploy.runtime.forks import OneProcess
from itr_deploy.runtime.pair_scorer import PairScorer
from itr_deploy.runtime.product_scorer import ProductScorer
from itr_deploy.runtime.projection import read_projection
from itr_deploy.runtime.scorer import Scorer
from itr_deploy.runtime.text import TextProcessor, text_processor
from itr_deploy.values import PATH, TEXT, checked, choice, satisfying, whole

log = logging.getLogger(__name__)

Texts: TypeAlias = Sequence[str] | tuple[ArrayLike, ArrayLike] | Encoded
Images: TypeAlias = Unencoded | Encoded

DEFAULT_BUDGET = 1 << 30
"""Bytes for encoded items and scratch while scoring raw inputs."""

PREFILTER_CALL = 16 << 20
"""Scratch memory of one call of a prefilter or a refiner on a CPU, by the matcher's estimate. They
compute little from what they gather, which should therefore still be in the cache
(docs/performance.md)."""

ALL = slice(None)

DETECTOR = satisfying(
    "a path or a Detector", lambda value: isinstance(value, (str, os.PathLike, Detector))
)


class Matcher(OneProcess):
    """A trained matcher, ready to score. Safe to use from several threads.

    Attributes:
        scorer: Scores encoded pairs.
        prefilter: Scores pairs with the bundle's prefilter; None if it has none.
        refiner: Scores pairs with the bundle's refiner; None if it has none.
        explainer: Tells of encoded pairs what attends to what.
        projection: Transforms a query's coarse embedding before the shortlist.
        detector: Finds regions in pictures, for a model that takes regions; None without one.

    Examples:
        >>> matcher = Matcher.load("bundle/")
        >>> regions = np.ones((3, 4, matcher.bundle.manifest.images.feature_dim), np.float32)
        >>> matcher.score(texts=["a dog", "two cats"], images=regions).shape
        (3, 2)
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        memory_budget: int = DEFAULT_BUDGET,
        detector: Detector | None = None,
    ) -> None:
        """Assemble a matcher from its parts; `load` is the usual way."""
        if detector is not None:
            check_fits(detector, bundle.manifest.images, str(bundle.path))
        self.detector = detector
        self.bundle = bundle
        self.backend = backend
        self.memory_budget = memory_budget
        budget, manifest = memory_budget // 4, bundle.manifest
        self.scorer: Scorer = (
            ProductScorer(backend.workers if backend.device == "cpu" else available_cores())
            if manifest.is_dual_encoder
            else PairScorer(backend, manifest, budget)
        )
        self.prefilter: PairScorer | None = None
        self.refiner: PairScorer | None = None
        if backend.device == "cpu":
            budget = min(budget, backend.workers * PREFILTER_CALL)
        if manifest.has_prefilter:
            self.prefilter = PairScorer(backend, manifest, budget, PREFILTERS)
        if manifest.has_refiner:
            self.refiner = PairScorer(backend, manifest, budget, REFINERS)
        self.explainer = Explainer(bundle, backend)
        self.projection = read_projection(bundle)
        self._text: TextProcessor | None = None

    def __repr__(self) -> str:
        """Family, bundle and backend."""
        family = self.bundle.manifest.family
        return f"<Matcher {family} {str(self.bundle.path)!r}, {self.backend.description}>"

    @classmethod
    @checked(bundle=PATH, device=TEXT, memory_budget=whole(0), backend=BACKEND, detector=DETECTOR)
    def load(
        cls,
        bundle: str | Path,
        device: str = "cpu",
        threads: int | None = None,
        memory_budget: int = DEFAULT_BUDGET,
        backend: str | Backend = "auto",
        *,
        detector: str | Path | Detector | None = None,
    ) -> Matcher:
        """Open a bundle for scoring.

        Args:
            bundle: The bundle's directory.
            device: ``"cpu"`` or ``"cuda"``.
            threads: Compute threads on the CPU; None for ``$ITR_DEPLOY_THREADS``, else
                ``$OMP_NUM_THREADS``, else every core that affinity and CPU quota allow.
            memory_budget: Bytes that `score` may use for encoded items and scratch.
            backend: ``"onnxruntime"``, or on a GPU ``"tensorrt"`` or ``"onnxruntime-tensorrt"``,
                see `open_backend`; or a backend made for this bundle, such as
                ``TensorRTBackend(read_bundle(path), workers=4, cuda_graphs=True)``, in which case
                ``device`` and ``threads`` are ignored.
            detector: A region detector, or the path of its bundle, which ``device`` and ``threads``
                then hold for too. With it, images may be given as pictures.

        Raises:
            BundleError: The bundle is missing or damaged.
            InputError: The detector does not go with the model.
            EngineError: The bundle has no engines for the backend asked for.
            SetupError: A library or the device is missing.
            UsageError: The device or backend is unknown.
        """
        opened = read_bundle(bundle)
        check_consistent(opened)
        if detector is not None and not isinstance(detector, Detector):
            detector = Detector.load(detector, device, threads)
        if isinstance(backend, str):
            backend = open_backend(opened, device, backend, threads)
        made = (opened.manifest.family, opened.manifest.precision)
        log.info("%s: %s, %s, runs by %s", opened.path, *made, backend.description)
        return cls(opened, backend, memory_budget, detector)

    @property
    def text(self) -> TextProcessor:
        """The model's text processing, loaded on first use."""
        if self._text is None:
            self._text = text_processor(self.bundle)
        return self._text

    def encode_texts(self, texts: Sequence[str]) -> Encoded:
        """Encode texts.

        Raises:
            InputError: A text is empty or too long.
        """
        return TextSource(self, texts).encode(ALL)

    def encode_token_ids(self, token_ids: ArrayLike, lengths: ArrayLike) -> Encoded:
        """Encode texts given as token ids.

        Args:
            token_ids: Integers ``[C, L]``; ids past a text's length are ignored.
            lengths: Integers ``[C]``, including the model's start and end tokens.

        Raises:
            InputError: Wrong shapes, lengths or ids.
        """
        return TextSource(self, (token_ids, lengths)).encode(ALL)

    def encode_images(self, images: Unencoded) -> Encoded:
        """Encode images, given by region features or as pictures.

        Pictures are for a model of pixels, or for one of regions with a detector.

        Args:
            images: Regions ``[N, R, Di]``; a list of ``[R_i, Di]``, for images of different numbers
                of regions; or `Regions`. Or a list of pictures: paths, files' contents in bytes,
                images of Pillow's, or ``uint8 [H, W, 3]``; or ``uint8 [N, H, W, 3]``.

        Raises:
            InputError: Wrong rank, width, number of regions or type, a value that is not finite,
                or a region of zeros without `Regions.counts`; or a picture cannot be decoded.
        """
        return ImageSource(self, images).encode(ALL)

    def score(self, *, texts: Texts, images: Images) -> NDArray[np.float32]:
        """Score every image against every text.

        Args:
            texts: Strings, ``(token_ids, lengths)``, or what an ``encode_...`` call returned.
            images: What `encode_images` takes, or what it returned.

        Returns:
            ``float32 [n_images, n_texts]``, higher is better.

        Raises:
            InputError: The texts or images cannot be encoded.
        """
        text_source = source(self, texts, "text")
        image_source = source(self, images, "image")
        scores = np.empty((image_source.count, text_source.count), np.float32)
        for columns, encoded_texts in text_source.tiles(self.memory_budget // 4):
            for rows, encoded_images in image_source.tiles(self.memory_budget // 2):
                tile = self.scorer.score_all(encoded_texts, encoded_images)
                scores[rows, columns] = tile.T
        return scores

    @checked(text=TEXT, step=whole(1), attends=choice(Modality))
    def explain(
        self,
        text: str,
        image: Images,
        *,
        step: int | None = None,
        attends: Modality | None = None,
    ) -> Explanation:
        """What matched between a text and an image: which words and which regions.

        Args:
            text: The text.
            image: One image: regions ``[R, Di]``, or `Regions` of one, with boxes if these are
                to be in the result; a picture, where there is a detector, which gives boxes too;
                or what `encode_images` returned for one.
            step: The step or layer to show; by default the last one that enters the score.
            attends: ``"text"`` for words that attend to regions, ``"image"`` for regions that
                attend to words. By default the former, where the model does both.

        Returns:
            The weights of every word and region, and all steps.

        Raises:
            BundleError: The model does not attend from words to regions, as dual encoders do not,
                or the bundle is an older release's.
            InputError: The text or image cannot be encoded; or the model has no such step, or
                closes its gates behind it.
        """
        self.explainer.graph()
        encoded, placed = self._one_image(image)
        query, words = self.encode_texts([text]), self.text.tokens(text)
        return self.explainer.explanation(self.scorer, words, query, encoded, placed, step, attends)

    def _one_image(self, image: Images) -> tuple[Encoded, Placed | None]:
        """One image encoded, and where its regions are.

        Raises:
            InputError: These are several, or it cannot be encoded.
        """
        given = image
        if not isinstance(image, Encoded):
            given, _ = several_images(image, self.bundle.manifest.images, self.detector)
        images = source(self, given, "image")
        if images.count != 1:
            raise InputError(f"image= has {images.count} images; give one, such as regions [R, Di]")
        return images.encode(ALL), images.placed(0)

    def item_bytes(self, modality: Modality, positions: int, value_bytes: int = 4) -> int:
        """Bytes of the stored tensors of one item with this many regions or words.

        Where nothing is stored besides the embedding, those of the embedding.
        """
        manifest = self.bundle.manifest
        specs = manifest.items(modality).tensors
        if not specs:
            return manifest.embedding_width(modality) * np.dtype(np.float32).itemsize
        return value_bytes * sum(s.width * (positions if s.per_position else 1) for s in specs)
