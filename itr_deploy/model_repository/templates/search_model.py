"""Searches a gallery: itr-deploy's `Retriever` as a model of Triton's Python backend.

A row of a request is a query: a text, or an image. Requests that Triton hands over together are
searched together where they have the same k and filter.
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from itr_deploy import Hits, InputError, ItrDeployError, Regions, Retriever

IMAGE = ("regions", "boxes", "picture_sizes", "picture")
"""What an image may be made of."""
DEFAULT_K = 10


@dataclass(frozen=True, eq=False)
class Query:
    """A row of a request.

    Attributes:
        request: Number of its request.
        name: What messages call it.
        text: The text, None for an image.
        image: The arrays or the file of an image, by the names of the inputs.
        k: Number of hits.
        where: The filter, None for none.
    """

    request: int
    name: str
    text: str | None
    image: dict[str, Any]
    k: int
    where: str | None


class TritonPythonModel:
    """What Triton's Python backend loads, calls and unloads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle and the gallery that the configuration names.

        Raises:
            TritonModelException: They cannot be loaded.
        """
        given = json.loads(args["model_config"])["parameters"]
        settings = {name: entry["string_value"] for name, entry in given.items()}
        here = Path(__file__).resolve().parent
        try:
            # Absolute paths stay what they are.
            self.retriever = Retriever.load(
                here / settings["bundle"], here / settings["gallery"], device=settings["device"]
            )
            self.retriever.warm_up()
        except ItrDeployError as error:
            raise pb_utils.TritonModelException(one_line(error)) from None
        self.most = int(settings["max_k"])
        self.every = float(settings["refresh_seconds"])
        self.refreshed = time.monotonic()
        # Where padding takes part in the encoding, a text is encoded as if it came alone.
        texts = self.retriever.matcher.bundle.manifest.texts
        self.alone = texts.padded_together is not None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests; what is wrong with one does not touch the others."""
        self.refresh()
        failed: dict[int, Any] = {}
        queries: list[Query] = []
        for number, request in enumerate(requests):
            try:
                queries += self.read(number, request)
            except Exception as error:
                failed[number] = refusal(error)
        found: dict[Query, Hits] = {}
        for together in self.groups(queries):
            self.search(together, found, failed)
        answers = []
        for number in range(len(requests)):
            if number in failed:
                answers.append(failed[number])
            else:
                own = [found[query] for query in queries if query.request == number]
                answers.append(pb_utils.InferenceResponse(output_tensors=tensors(own)))
        return answers

    def refresh(self) -> None:
        """Take up what others have changed in the gallery, now and then, beside the searches."""
        if not self.every or time.monotonic() - self.refreshed < self.every:
            return
        error = self.retriever.refresh_error
        if error is not None:
            pb_utils.Logger.log_warn(f"searching what was loaded: {one_line(error)}")
        self.retriever.refresh(wait=False)
        self.refreshed = time.monotonic()

    def read(self, number: int, request: Any) -> list[Query]:
        """The queries of a request.

        Raises:
            InputError: A row holds no query, or an impossible one.
        """
        given = {}
        for name in ("query", "k", "where", *IMAGE):
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                given[name] = tensor.as_numpy()
        if ("query" in given) == any(name in given for name in ("regions", "picture")):
            raise InputError("give a text as query, or an image as regions or picture, one of them")
        rows = len(next(given[name] for name in ("query", "regions", "picture") if name in given))
        queries = []
        for row in range(rows):
            name = f"row {row}: " if rows > 1 else ""
            k = int(given["k"][row, 0]) if "k" in given else DEFAULT_K
            if not 1 <= k <= self.most:
                raise InputError(f"{name}k={k} must be a whole number from 1 to {self.most}")
            image = {name: given[name][row] for name in IMAGE if name in given}
            if "picture" in image:
                image["picture"] = bytes(image["picture"][0])
            text = decoded(given["query"][row, 0], f"{name}query") if "query" in given else None
            where = decoded(given["where"][row, 0], f"{name}where") if "where" in given else None
            queries.append(Query(number, name, text, image, k, where or None))
        return queries

    def groups(self, queries: Sequence[Query]) -> Iterator[list[Query]]:
        """Queries that one search answers, as it would answer each of them alone."""
        found: dict[Hashable, list[Query]] = defaultdict(list)
        for query in queries:
            own = query if self.alone and query.text is not None else None
            found[query.k, query.where, query.text is None, tuple(query.image), own].append(query)
        yield from found.values()

    def search(
        self, together: list[Query], found: dict[Query, Hits], failed: dict[int, Any]
    ) -> None:
        """Search for several queries; if that fails, for each alone, to find the one at fault."""
        try:
            found.update(zip(together, self.hits(together), strict=True))
        except Exception as error:
            if len(together) == 1:
                failed[together[0].request] = refusal(error, together[0].name)
                return
            for query in together:
                self.search([query], found, failed)

    def hits(self, queries: Sequence[Query]) -> list[Hits]:
        """The hits of queries of one kind, k and filter."""
        first = queries[0]
        if first.text is not None:
            texts = [query.text or "" for query in queries]
            return self.retriever.search(texts, first.k, first.where)
        images = [query.image for query in queries]
        given: Any
        if "picture" in first.image:
            given = [image["picture"] for image in images]
        else:
            each = {
                name: [image[name] for image in images] for name in IMAGE[:3] if name in first.image
            }
            sizes = each.get("picture_sizes")
            given = Regions(
                each["regions"], each.get("boxes"), None if sizes is None else np.stack(sizes)
            )
        found = self.retriever.search(image=given, k=first.k, where=first.where)
        return found if isinstance(found, list) else [found]


def tensors(answers: Sequence[Hits]) -> list[Any]:
    """A row an answer, filled up to the longest; ``count`` says how many of a row are hits."""
    counts = np.array([[len(hits)] for hits in answers], np.int32)
    shape = (len(answers), int(counts.max(initial=0)))
    ids, metadata = np.full(shape, b"", np.object_), np.full(shape, b"", np.object_)
    scores = np.zeros(shape, np.float32)
    for row, hits in enumerate(answers):
        for place, hit in enumerate(hits):
            ids[row, place] = hit.id.encode()
            scores[row, place] = hit.score
            columns = json.dumps(plain(dict(hit.metadata)), ensure_ascii=False, default=str)
            metadata[row, place] = columns.encode()
    made = {"ids": ids, "scores": scores, "metadata": metadata, "count": counts}
    return [pb_utils.Tensor(name, array) for name, array in made.items()]


def plain(value: Any) -> Any:
    """A value as JSON can say it; what is no number becomes null."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decoded(content: bytes, name: str) -> str:
    """A text of a request.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8: {error}") from None


def refusal(error: Exception, name: str = "") -> Any:
    """The answer to a request whose query, of this name, cannot be answered."""
    code, message = pb_utils.TritonError.INVALID_ARG, f"{name}{one_line(error)}"
    if not isinstance(error, ItrDeployError):
        code, message = pb_utils.TritonError.INTERNAL, f"{type(error).__name__}: {message}"
        pb_utils.Logger.log_error(message)
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def one_line(error: Exception) -> str:
    """What an error says."""
    return " ".join(str(error).split())
