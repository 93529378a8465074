"""Fits a coarse projection to a split's scores and judges it on items that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.manifest import TOP
from itr_deploy.bundle.modality import MODALITIES, Modality, other
from itr_deploy.evaluation.data.answers import Mask
from itr_deploy.evaluation.measures.shortlist import default_widths
from itr_deploy.evaluation.scores.coarse import query_blocks
from itr_deploy.evaluation.scores.split_scores import SplitScores
from itr_deploy.evaluation.tuning.ridge import FLOORS, Form, RidgeFit
from itr_deploy.runtime.projection import Projection

RIDGES = tuple(10.0**-power for power in range(-1, 8))

MARGIN = 0.05
"""A form is taken if it lowers the mean place of the top 10 by more than this share."""

LEAST_IMAGES = 4 * TOP
"""Fewer images say nothing: half of them are hardly more than a top 10."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Kept:
    """Shares of the exhaustive top 10 in shortlists of one width, plain and projected."""

    width: int
    plain: float
    projected: float


@dataclass(frozen=True)
class Trial:
    """The best form for queries of one modality, compared with the plain vectors.

    Both are judged on the half of the items that the form was not fitted to, each half in turn.

    Attributes:
        taken: Whether it clearly beats the plain vectors.
        items: Number of items in a half.
        floor: The floor of its targets, one of `FLOORS`.
        ridge: Its ridge.
        kept: What both keep, at several widths.
    """

    taken: bool
    items: int
    floor: float
    ridge: float
    kept: tuple[Kept, ...]


@dataclass(frozen=True)
class Fitted:
    """What was found on a split.

    Attributes:
        projection: The forms that were taken, fitted to the whole split.
        halves: The same forms, fitted only to the even-numbered and the odd-numbered images.
        trials: By the query's modality; empty if the split is too small to say anything.
    """

    projection: Projection
    halves: tuple[Projection, Projection]
    trials: dict[Modality, Trial]


def fit_projection(data: SplitScores) -> Fitted:
    """Fit forms to a split: for each direction, the one that is best for unseen items.

    Args:
        data: The split; every pair has a score.
    """
    coarse, answers = data.coarse, data.answers
    forms: dict[Modality, Form] = {}
    by_half: tuple[dict[Modality, Form], dict[Modality, Form]] = {}, {}
    trials: dict[Modality, Trial] = {}
    images = coarse.queries("image")
    for query in MODALITIES if images >= LEAST_IMAGES else ():
        odd = answers.odd(query, slice(0, coarse.queries(query)))
        odd_items = answers.odd(other(query), slice(0, coarse.items(query)))
        fits = [RidgeFit(data, query, odd == half, odd_items == half) for half in (False, True)]
        trial = trials[query] = _best(data, query, fits, odd, odd_items)
        if trial.taken:
            settings = trial.floor, trial.ridge
            forms[query] = RidgeFit(data, query, odd | True, odd_items | True).form(*settings)
            for found, fit in zip(by_half, fits, strict=True):
                found[query] = fit.form(*settings)
    return Fitted(Projection(forms), (Projection(by_half[0]), Projection(by_half[1])), trials)


def _best(
    data: SplitScores, query: Modality, fits: list[RidgeFit], odd: Mask, odd_items: Mask
) -> Trial:
    """The form that puts the top 10 nearest the front on the half that it was not fitted to."""
    grid = [(floor, ridge) for floor in FLOORS for ridge in RIDGES]
    identity = np.eye(data.coarse.vectors(query).shape[1], dtype=np.float32)
    found = []
    for half, fit in zip((False, True), fits, strict=True):
        forms = [identity, *(fit.form(*settings) for settings in grid)]
        found.append(_places(data, query, forms, odd != half, odd_items != half))
    places = np.concatenate(found, axis=1)
    means = places.mean(axis=(1, 2))
    best = int(means[1:].argmin())
    items = int(min(odd_items.sum(), len(odd_items) - odd_items.sum()))
    kept = tuple(
        Kept(width, *(float((places[which] < width).mean()) for which in (0, 1 + best)))
        for width in default_widths(items)
    )
    return Trial(bool(means[1 + best] < (1 - MARGIN) * means[0]), items, *grid[best], kept)


def _places(
    data: SplitScores, query: Modality, forms: list[Form], own: Mask, items: Mask
) -> Places:
    """Places from 0 at which forms put the exhaustive top 10, ``int64 [forms, queries, TOP]``."""
    vectors, gallery = data.coarse.vectors(query), data.coarse.vectors(other(query))[items]
    found = np.empty((len(forms), int(own.sum()), TOP), np.int64)
    done = 0
    for part in query_blocks(len(own), len(items)):
        chosen = np.array(vectors[part])[own[part]]
        block = data.of(query, part)[own[part]][:, items]
        top = np.argsort(-block, axis=1, kind="stable")[:, :TOP]
        rows = slice(done, done + len(chosen))
        done = rows.stop
        for places, form in zip(found, forms, strict=True):
            products = chosen @ form @ gallery.T
            for place, item in zip(places[rows].T, top.T, strict=True):
                place[:] = (products > np.take_along_axis(products, item[:, None], 1)).sum(axis=1)
    return found
