"""`/v1/embeddings`: the coarse embedding of texts, which makes shortlists and is not the score."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from itr_deploy.runtime.matcher import Matcher
from itr_deploy.serving.answers import Told, numbers_response
from itr_deploy.serving.requests import EmbeddingsAsked
from itr_deploy.serving.routes.common import (
    REFUSED,
    Serving,
    check_some,
    while_connected,
)

router = APIRouter()


class Embedding(Told):
    """One text's vector: numbers, or the bytes of little-endian float32 in base64."""

    object: str
    index: int
    embedding: list[float] | str


class Usage(Told):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Told):
    """The vectors of all texts, in their order."""

    object: str
    data: list[Embedding]
    model: str
    usage: Usage


@router.post("/v1/embeddings", response_model=Embeddings, responses=REFUSED)
async def embeddings(asked: EmbeddingsAsked, request: Request, service: Serving) -> Response:
    """Encode texts as coarse embeddings.

    Of a matcher these only make the shortlist; its score is not their product. Of a dual encoder it
    is.
    """
    texts = asked.texts
    check_some("input", texts, service.settings.max_texts)

    padded_together = service.retriever.matcher.bundle.manifest.texts.padded_together
    computing = service.answer(
        lambda some: encoded(service.retriever.matcher, some),
        texts,
        # Where the padding takes part in the encoding, others' texts would change it.
        kind="embeddings" if padded_together is None else None,
        size=len(texts),
    )
    (vectors, tokens), _ = await while_connected(request, computing)
    data = [
        {"object": "embedding", "index": number, "embedding": _told(row, asked.encoding_format)}
        for number, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return numbers_response({"object": "list", "data": data, "model": service.name, "usage": usage})


def encoded(
    matcher: Matcher, some: Sequence[Sequence[str]]
) -> list[tuple[NDArray[np.float32], int]]:
    """Vectors and number of tokens of every request's texts, encoded in one call."""
    texts = [text for one in some for text in one]
    ids, lengths = matcher.text.token_ids(texts)
    vectors = matcher.encode_token_ids(ids, lengths).embedding
    ends = np.cumsum([len(one) for one in some])
    return [
        (own, int(counts.sum()))
        for own, counts in zip(
            np.split(vectors, ends[:-1]), np.split(lengths, ends[:-1]), strict=True
        )
    ]


def _told(row: Any, form: str) -> list[float] | str:
    if form == "float":
        numbers: list[float] = row.astype(np.float64).tolist()
        return numbers
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
