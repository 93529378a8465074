"""What goes wrong, as an answer: one form, whatever it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from itr_deploy.errors import ItrDeployError
from itr_deploy.serving.answers import json_response
from itr_deploy.serving.refusals import RefusalError, invalid, not_found, refusal_of

SHOWN = 200
"""Most characters of a message about a request's form."""

ALTERNATIVES = ("function-", "constrained-", "list[")
"""How Pydantic calls the alternatives of a field, which are none of its own."""

IN_WORDS = {
    "dict_type": "must be a JSON object",
    "extra_forbidden": "is no field of this request",
    "missing": "is missing",
    "model_attributes_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "string_pattern_mismatch": "is blank; give at least one word",
    "string_too_short": "is empty",
    "string_unicode": "has half of a character, which UTF-8 cannot hold",
    "too_short": "is empty",
}
"""What is wrong, by Pydantic's name of it, where its own words are of Python."""

LONGEST = 1000
"""Most characters of any message: it may repeat what was sent."""


def failure(scope: Scope, refusal: RefusalError) -> Response:
    """The answer to a request that is refused."""
    told = {
        "code": refusal.code,
        "message": _cut(refusal.message),
        "hint": None if refusal.hint is None else _cut(refusal.hint),
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    headers: dict[str, str] = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response({"error": told}, refusal.status, headers)


def answer_failures(app: FastAPI) -> None:
    """Answer everything that goes wrong in the same form."""

    @app.exception_handler(RefusalError)
    async def refused(request: Request, error: RefusalError) -> Response:
        return failure(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return failure(request.scope, _of_form(error.errors(), request.headers))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            refusal = not_found(
                f"there is no {request.url.path[:SHOWN]}", "see /openapi.json for what there is"
            )
        elif error.status_code == 405:
            refusal = RefusalError(
                405, "method_not_allowed", f"{request.url.path[:SHOWN]} takes no {request.method}"
            )
        elif (encoding := request.headers.get("content-encoding", "identity")) != "identity":
            # Nothing here is decompressed: a small body may become one of any size.
            refusal = RefusalError(
                415,
                "unsupported_media_type",
                f"the body is encoded as {encoding[:SHOWN]}",
                "send it without Content-Encoding",
            )
        elif error.status_code == 400:
            told = "the body cannot be read as JSON in UTF-8, or its numbers or its depth are huge"
            refusal = RefusalError(400, "malformed_json", told)
        else:
            refusal = RefusalError(error.status_code, "refused", str(error.detail))
        response = failure(request.scope, refusal)
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    @app.exception_handler(ItrDeployError)
    async def of_the_library(request: Request, error: ItrDeployError) -> Response:
        return failure(request.scope, refusal_of(error, request.app.state.service.paths()))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _of_form(errors: Sequence[Mapping[str, Any]], headers: Mapping[str, str]) -> RefusalError:
    """What is wrong with a request's form: the first thing, in one line."""
    # Where a field may be one of several things, the one that it nearly is tells the most.
    first = max(errors, key=lambda error: len(error["loc"]))
    if first["loc"] == ("body",) and isinstance(first["input"], bytes):  # it was not read as JSON
        kind = headers.get("content-type", "")[:SHOWN]
        return RefusalError(
            415,
            "unsupported_media_type",
            f"the body is {kind or 'of no type'}",
            "send JSON, and the header 'Content-Type: application/json'",
        )
    if first["type"] == "json_invalid":
        return RefusalError(400, "malformed_json", f"the body is no JSON: {_detail(first)}")
    place = [str(part) for part in first["loc"] if part not in ("body", "Document")]
    name = ".".join(part for part in place if not part.startswith(ALTERNATIVES)) or "the body"
    said = str(first["msg"]).replace("Input should be", "must be").removeprefix("Value error, ")
    what, _, hint = IN_WORDS.get(first["type"], said).partition("; ")
    message = what if first["type"] == "value_error" else f"{name}: {what}"
    return invalid(message[:SHOWN], hint or "see /openapi.json")


def _detail(error: Mapping[str, Any]) -> str:
    return str(error.get("ctx", {}).get("error", error["msg"]))[:SHOWN]
