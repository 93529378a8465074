"""The page at `/`: files of this package, as they are."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from itr_deploy.serving.refusals import not_found

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _response(request, "index.html")


@router.get("/page/{name}")
async def file(request: Request, name: str) -> Response:
    """A file that the page loads."""
    return _response(request, name)


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    """The page's icon, where a browser asks for it by itself."""
    return _response(request, "icon.svg")


def _response(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise not_found(f"the page has no file {name[:100]!r}")
    content, kind, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


@cache
def _files() -> dict[str, tuple[bytes, str, str]]:
    """The page's files by name: content, type and tag."""
    found = {}
    for path in Path(__file__).parent.iterdir():
        if path.suffix in TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = content, TYPES[path.suffix], tag
    return found
