"""A client of the service that `itr-deploy serve` runs: searches over HTTP, with the same hits."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from itr_deploy.bundle.modality import Modality
from itr_deploy.errors import InputError, ServiceError, SetupError, UsageError
from itr_deploy.runtime.encoding.places import Placed
from itr_deploy.runtime.encoding.regions import Regions
from itr_deploy.runtime.explanation import Attention, Explanation
from itr_deploy.runtime.hits import Answered, Hits
from itr_deploy.runtime.pictures.decode import is_image
from itr_deploy.runtime.retriever import FROM_BUNDLE, Default
from itr_deploy.runtime.text.base import check_texts
from itr_deploy.values import FLAG, TEXT, checked, each, or_none, real, shown, whole

if TYPE_CHECKING:
    import httpx2

WAITING = (429, 503)
"""Statuses after which another try may succeed; `Retry-After` says when."""

MOST_WAIT = 30.0
"""Seconds that a client waits before another try, whatever the service asks for."""

JSON = {"Content-Type": "application/json"}

_COUNT = whole(1)
_WIDTH = or_none(_COUNT, "None for all items")

T = TypeVar("T")


class Client:
    """Searches with a service. Safe to use from several threads.

    A request that is answered 429 or 503 is tried again when the answer's ``Retry-After`` says, as
    is one whose connection fails before anything was sent.

    Examples:
        >>> from itr_deploy import Client
        >>> with Client("http://127.0.0.1:8080") as client:  # doctest: +SKIP
        ...     client.search("a dog on the grass", k=2)[0].id
        'a'
    """

    @checked(
        url=TEXT,
        api_key=or_none(TEXT),
        timeout=real("a number of seconds above 0", above=0.0),
        retries=whole(0, 100),
    )
    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float = 30.0, retries: int = 3
    ) -> None:
        """Name the service; nothing is asked yet.

        Args:
            url: Its address.
            api_key: One of its keys, if it asks for one.
            timeout: Seconds that an answer may take.
            retries: How often a request is tried again.

        Raises:
            SetupError: httpx2 is not installed.
            UsageError: The address is none, or the key cannot be one.
        """
        try:
            import httpx2
        except ModuleNotFoundError as error:
            raise SetupError(
                f"the client needs {error.name}, which is not installed; "
                "pip install 'itr-deploy[client]'"
            ) from error
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"url={url!r} must begin with http:// or https://")
        if api_key is not None and not re.fullmatch("[!-~]+", api_key):
            raise UsageError(
                "api_key= is empty or has characters that a header cannot hold; give one of the "
                "service's keys"
            )
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self.url, self._retries = url.rstrip("/"), retries
        try:
            self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout)
        except httpx2.InvalidURL as error:
            raise UsageError(f"url={url!r} is no address: {error}") from error

    def __repr__(self) -> str:
        """The service's address."""
        return f"<Client of {self.url}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
    ) -> Hits: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = ...,
        where: str | None = ...,
        *,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
    ) -> list[Hits]: ...

    @overload
    def search(
        self,
        *,
        image: Any,
        k: int = ...,
        where: str | None = ...,
        candidates: int | Default | None = ...,
        prefilter: int | Default | None = ...,
        refine: int | Default | None = ...,
        rerank: bool = ...,
    ) -> Hits: ...

    @checked(
        k=_COUNT,
        where=or_none(TEXT),
        rerank=FLAG,
    )
    def search(
        self,
        query: str | Sequence[str] | None = None,
        k: int = 10,
        where: str | None = None,
        *,
        image: Any = None,
        candidates: int | Default | None = FROM_BUNDLE,
        prefilter: int | Default | None = FROM_BUNDLE,
        refine: int | Default | None = FROM_BUNDLE,
        rerank: bool = False,
    ) -> Hits | list[Hits]:
        """Search, as `Retriever.search` does.

        Args:
            query: A text, or several.
            k: Hits per query.
            where: Conditions on the gallery's columns.
            image: Instead of a text, a picture: a path, a file's content in bytes, an image of
                Pillow's, or ``uint8 [H, W, 3]``; or the regions ``[R, Di]`` of an image.
            candidates: Items that the matcher scores per query; None for all.
            prefilter: Items that the prefilter reads; None for no prefilter.
            refine: Items that the refiner reads; None for no refiner.
            rerank: Put the best hits in the re-ranker's order.

        Returns:
            The hits of one query, or a list of them for several. Dates in the metadata are text.

        Raises:
            InputError: The service refuses the request, or the picture cannot be read.
            ServiceError: The service cannot be reached, does not answer, or refuses the key.
            UsageError: Not exactly one of ``query`` and ``image`` is given.
        """
        if (query is None) == (image is None):
            raise UsageError("give either a text query or image=, one of them")
        asked: dict[str, Any] = {"k": k, "where": where, "rerank": rerank}
        widths = {"candidates": candidates, "prefilter": prefilter, "refine": refine}
        for name, width in widths.items():
            if width is not FROM_BUNDLE:
                asked[name] = _WIDTH(name, width)
        if image is not None:
            asked |= _image(image)
        elif isinstance(query, str):
            asked["query"] = _texts("query", [query])[0]
        else:
            asked["queries"] = _texts("query", query)
            if not asked["queries"]:
                return []
        return self._ask("POST", "/v1/search", asked, _found)

    @checked(query=TEXT, id=TEXT, step=_COUNT)
    def explain(
        self, query: str, id: str, *, step: int | None = None, attends: Modality | None = None
    ) -> Explanation:
        """What matched between a query and an image of the gallery, as `Retriever.explain` says.

        Args:
            query: The text.
            id: The image's id.
            step: The step or layer to show; by default the last one that enters the score.
            attends: Who attends, see `Matcher.explain`.

        Returns:
            The weights of the step; ``steps`` has no other.

        Raises:
            InputError: The service refuses the request.
            ServiceError: The service cannot be reached, does not answer, or refuses the key.
        """
        (query,) = _texts("query", [query])
        asked = {"query": query, "id": id, "step": step, "attends": attends}
        return self._ask("POST", "/v1/explain", asked, _explanation)

    @checked(texts=each(TEXT), ids=each(TEXT))
    def score(self, texts: Sequence[str], ids: Sequence[str]) -> NDArray[np.float32]:
        """Scores of texts with images of the gallery.

        Args:
            texts: The texts.
            ids: Ids of images.

        Returns:
            ``float32 [n_texts, n_ids]``.

        Raises:
            InputError: The service refuses the request.
            ServiceError: The service cannot be reached, does not answer, or refuses the key.
        """
        asked = {"texts": _texts("texts", texts), "ids": _texts("ids", ids)}
        return self._ask(
            "POST", "/v1/score", asked, lambda told: np.array(told["scores"], np.float32)
        )

    def about(self) -> dict[str, Any]:
        """What the service serves and what it can do.

        Raises:
            ServiceError: The service cannot be reached, does not answer, or refuses the key.
        """
        return self._ask("GET", "/v1/models", None, lambda told: dict(told["data"][0]))

    def _ask(
        self, method: str, route: str, body: Mapping[str, Any] | None, read: Callable[[Any], T]
    ) -> T:
        """What an answer tells, read by a function that fails if it is no answer of a service."""
        if self._http.is_closed:
            raise UsageError(f"the client of {self.url} is closed; make another one")
        try:
            content = None if body is None else json.dumps(body, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InputError(f"the request cannot be sent as JSON: {error}") from error
        for left in reversed(range(self._retries + 1)):
            response = self._answer(method, route, content, left)
            if response is not None:
                return self._read(response, read)
        raise AssertionError("the last try answers or raises")

    def _read(self, response: httpx2.Response, read: Callable[[Any], T]) -> T:
        try:
            return read(response.json())
        except (ValueError, TypeError, LookupError) as error:
            raise ServiceError(
                f"{self.url} answers {response.text[:80]!r}, as no itr-deploy serve does; check "
                "the address"
            ) from error

    def _answer(
        self, method: str, route: str, content: bytes | None, left: int
    ) -> httpx2.Response | None:
        """An answer, or None after a pause where the request may be tried again."""
        import httpx2

        try:
            response = self._http.request(method, route, content=content, headers=JSON)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if left:
                time.sleep(min(MOST_WAIT, 0.2 * 2 ** (self._retries - left)))
                return None
            raise ServiceError(f"{self.url} cannot be reached: {error}; is it running?") from error
        except httpx2.HTTPError as error:
            told = str(error) or type(error).__name__
            raise ServiceError(f"{self.url} does not answer: {told}; try again") from error
        if response.status_code in WAITING and left:
            time.sleep(_pause(response))
            return None
        if response.is_success:
            return response
        raise self._refused(response)

    def _refused(self, response: httpx2.Response) -> InputError | ServiceError:
        try:
            told = response.json()["error"]
            message = (
                told["message"] if told["hint"] is None else f"{told['message']}; {told['hint']}"
            )
        except (ValueError, KeyError, TypeError):
            message = response.text[:200] or "no reason given"
        if response.status_code in (400, 404, 413, 422):
            return InputError(message)
        return ServiceError(f"{self.url} answers {response.status_code}: {message}")


def _pause(response: httpx2.Response) -> float:
    """Seconds until the next try: what the service says, and a little, lest all come at once."""
    told = response.headers.get("Retry-After", "")
    seconds = float(told) if told.isdigit() else 1.0
    return min(MOST_WAIT, seconds) + random.uniform(0, 0.25)  # noqa: S311


def _texts(name: str, texts: Any) -> list[str]:
    """Texts or ids in a list.

    Raises:
        InputError: One of them is no text, or blank.
        UsageError: They are one text, or none at all.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise UsageError(f"{name}={shown(texts)} must be a list of texts")
    given = list(texts)
    check_texts(given)
    return given


def _found(told: Mapping[str, Any]) -> Hits | list[Hits]:
    # Not by get: what is no mapping must be a TypeError or LookupError.
    shards = told["shards"] if "shards" in told else None  # noqa: SIM401
    answered = (
        None
        if shards is None
        else Answered(shards["total"], shards["answered"], tuple(shards["failed"]))
    )
    if "results" in told:
        return [_hits(result["hits"], answered) for result in told["results"]]
    return _hits(told["hits"], answered)


def _image(image: Any) -> dict[str, Any]:
    """An image as a request has it.

    Raises:
        InputError: It cannot be read.
    """
    if isinstance(image, Regions):
        image = image.features
    if isinstance(image, (str, Path)):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise InputError(f"{image}: {(error.strerror or str(error)).lower()}") from error
    if is_image(image) or (isinstance(image, np.ndarray) and image.dtype == np.uint8):
        image = _png(image)
    if isinstance(image, bytes):
        return {"image": base64.b64encode(image).decode()}
    try:
        regions = np.asarray(image, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"image= is no picture and no regions [R, Di]: {error}") from error
    if not np.isfinite(regions).all():
        raise InputError("image= has NaN or infinite features; look at how they were extracted")
    if regions.ndim != 2:
        raise InputError(
            f"image= has shape {list(regions.shape)}; give regions [R, Di] of one image"
        )
    if regions.dtype.kind not in "fiu" or not np.isfinite(regions).all():
        raise InputError("image= has values that are no numbers; give finite ones")
    return {"regions": regions.astype(np.float32).astype(np.float64).tolist()}


def _png(image: Any) -> bytes:
    from PIL import Image

    made = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    content = io.BytesIO()
    made.save(content, "PNG")
    return content.getvalue()


def _hits(told: Sequence[Mapping[str, Any]], shards: Answered | None) -> Hits:
    again = [hit["rerank_score"] for hit in told]
    reranked = any(score is not None for score in again)
    return Hits(
        tuple(hit["id"] for hit in told),
        np.array([hit["score"] for hit in told], np.float32),
        tuple(hit["metadata"] for hit in told),
        np.array(again, np.float32) if reranked else None,
        np.array([hit["matcher_rank"] for hit in told], np.int64) if reranked else None,
        shards,
    )


def _explanation(told: Mapping[str, Any]) -> Explanation:
    shown = Attention(
        told["step"],
        told["attends"],
        np.array(told["attention"], np.float32),
        np.array([word["relevance"] for word in told["words"]], np.float32),
    )
    placed = None
    if told["picture_size"] is not None:
        boxes = np.array([region["box"] for region in told["regions"]], np.float32)
        placed = Placed(boxes, np.array(told["picture_size"], np.float32))
    return Explanation(
        words=tuple(word["text"] for word in told["words"]),
        regions=len(told["regions"]),
        shown=shown,
        steps=(shown,),
        score=told["score"],
        exact=told["exact"],
        placed=placed,
    )
