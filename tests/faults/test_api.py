"""The public objects and functions, called with anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import itr_deploy
from itr_deploy import Gallery, Matcher, Retriever
from itr_deploy.errors import ItrDeployError
from tests.faults.anything import ANYTHING, NUMBERS, TEXTS, all_finite, or_anything, well_said
from tests.faults.trials import share
from tests.support.golden import FULL

REGIONS = FULL.regions[:3]
TRIES = settings(
    max_examples=share(800, least=25),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def tried(call: Callable[[], Any]) -> Any:
    """The result of a call; None where it is refused in a line of its own."""
    try:
        return call()
    except ItrDeployError as error:
        refusal = error
    assert well_said(refusal), repr(str(refusal))
    return None


@pytest.fixture(scope="module")
def matcher(bundle: Path) -> Matcher:
    return Matcher.load(bundle, threads=1)


@pytest.fixture(scope="module")
def gallery(matcher: Matcher, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    made = Gallery.create(tmp_path_factory.mktemp("faults") / "gallery", matcher)
    made.add(
        ["a", "b", "c"], REGIONS, metadata={"price": [1.5, 2.0, 3.0], "colour": ["r", "g", "b"]}
    )
    return made


@pytest.fixture(scope="module")
def retriever(matcher: Matcher, gallery: Gallery) -> Retriever:
    return Retriever(matcher, gallery)


IMAGES = or_anything(REGIONS) | st.builds(
    lambda scale, place, value: _with(REGIONS * np.float32(scale), place, value),
    st.sampled_from((0.0, 1.0, 1e-30, 1e10, 1e30)),
    st.integers(0, REGIONS.size - 1),
    NUMBERS,
)


def _with(regions: np.ndarray, place: int, value: Any) -> np.ndarray:
    changed = np.array(regions, np.float64)
    with np.errstate(all="ignore"):
        changed.flat[place] = float(value)
        return changed.astype(np.float32)


@pytest.mark.slow
@TRIES
@given(texts=or_anything(["a dog", "two"]) | st.lists(TEXTS, max_size=3), images=IMAGES)
def test_scoring_is_refused_or_finite(matcher: Matcher, texts: Any, images: Any) -> None:
    found = tried(lambda: matcher.score(texts=texts, images=images))
    assert found is None or all_finite(found)


@pytest.mark.slow
@TRIES
@given(
    text=or_anything("a dog") | TEXTS,
    image=IMAGES | st.just(REGIONS[0]),
    name=or_anything("a") | TEXTS,
    step=or_anything(None),
    attends=or_anything("image"),
)
def test_explaining_is_refused_or_finite(
    matcher: Matcher,
    retriever: Retriever,
    text: Any,
    image: Any,
    name: Any,
    step: Any,
    attends: Any,
) -> None:
    options = {"step": step, "attends": attends}
    for found in (
        tried(lambda: matcher.explain(text, image, **options)),
        tried(lambda: retriever.explain(text, name, **options)),
    ):
        assert found is None or all_finite(found.attention)


@pytest.mark.slow
@TRIES
@given(ids=or_anything([[1, 5, 2]]), lengths=or_anything([3]))
def test_token_ids_are_refused_or_encoded(matcher: Matcher, ids: Any, lengths: Any) -> None:
    tried(lambda: matcher.encode_token_ids(ids, lengths))


@pytest.mark.slow
@TRIES
@given(
    query=or_anything("a dog") | TEXTS | IMAGES,
    k=or_anything(2),
    where=or_anything(None) | st.sampled_from(("id = 'a'", "price < 2", "colour IN ('r', 'g')")),
    candidates=or_anything(2),
    prefilter=or_anything(3),
)
def test_searching_is_refused_or_gives_hits(
    retriever: Retriever, query: Any, k: Any, where: Any, candidates: Any, prefilter: Any
) -> None:
    found = tried(
        lambda: retriever.search(
            query, k=k, where=where, candidates=candidates, prefilter=prefilter
        )
    )
    if found is not None and hasattr(found, "scores"):
        assert all_finite(found.scores)


@pytest.mark.slow
@TRIES
@given(
    ids=or_anything(["x"]) | st.lists(TEXTS, max_size=3),
    items=or_anything(REGIONS[:1]),
    metadata=or_anything({"price": [1.0], "colour": ["r"]}),
)
def test_writing_to_a_gallery_is_refused_or_done_whole(
    matcher: Matcher, gallery: Gallery, ids: Any, items: Any, metadata: Any
) -> None:
    before = gallery.ids()
    for change in (
        lambda: gallery.add(ids, items, metadata=metadata),
        lambda: gallery.update(ids, items, metadata=metadata),
        lambda: gallery.delete(ids),
    ):
        tried(change)
    own = [name for name in gallery.ids() if name not in before]
    if own:
        gallery.delete(own)
    assert sorted(gallery.ids()) == sorted(before)
    assert Gallery.open(gallery.path, matcher).count() == len(before)
    missing = {"a", "b", "c"} - set(gallery.ids())
    assert not missing


VERBS = (
    *(
        "bench",
        "build_engine",
        "cascade",
        "check",
        "compact",
        "convert",
        "doctor",
        "ensemble",
        "evaluate",
    ),
    *("export", "export_reranker", "index", "index_bank", "index_coarse", "inspect"),
    *("profile_routes", "search", "triton", "tune", "verify"),
)


@pytest.mark.slow
@TRIES
@given(data=st.data())
def test_a_verb_is_refused_or_done(
    bundle: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """With parameters by their names; one at least is not what it should be."""
    import inspect as introspection

    name = data.draw(st.sampled_from(VERBS))
    function = getattr(itr_deploy, name)
    parameters = [
        parameter
        for parameter in introspection.signature(function).parameters.values()
        if parameter.kind is not introspection.Parameter.VAR_KEYWORD
        and parameter.name not in ("progress", "bar")
    ]
    root = tmp_path_factory.mktemp("verb")
    # Some verbs write into the bundle that they are given.
    bundle = Path(shutil.copytree(bundle, root / "bundle"))
    good: dict[str, Any] = {
        "bundle": bundle,
        "gallery": root / "none",
        "data": root / "data",
        "output": root / "out",
        "work": root / "work",
        "checkpoint": root / "none.tar",
        "vocab": root / "none.json",
        "family": "imram",
        "path": bundle,
        "base": bundle,
        "bank": root / "none",
    }
    wrong = data.draw(st.sampled_from([parameter.name for parameter in parameters] or [""]))
    arguments: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name == wrong:
            arguments[parameter.name] = data.draw(ANYTHING)
        elif parameter.name in good:
            arguments[parameter.name] = good[parameter.name]
        elif parameter.default is introspection.Parameter.empty:
            arguments[parameter.name] = data.draw(ANYTHING)
    positional = [
        arguments.pop(parameter.name)
        for parameter in parameters
        if parameter.kind is not introspection.Parameter.KEYWORD_ONLY
        and parameter.name in arguments
    ]
    tried(lambda: function(*positional, **arguments))
    shutil.rmtree(root)
