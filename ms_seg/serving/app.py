"""The server's routes: the page's files, what it begins with, and the door for pictures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ms_seg.inference import Segmenter
from ms_seg.presets import ASSETS
from ms_seg.serving.answering import Answering
from ms_seg.serving.guard import Guard
from ms_seg.serving.limits import Limits, Refused
from ms_seg.serving.line import Line, Place
from ms_seg.serving.question import read_question

EXAMPLE = ASSETS / "shapes_1.png"  # a picture of the drawn world that no model was trained on

_PAGE = Path(__file__).parent / "page"
_FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/masks.js": "masks.js"}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_READ_ON = 8  # times the largest upload
_log = logging.getLogger(__name__)


def build_app(
    models: Mapping[str, Segmenter],
    limits: Limits,
    names: Iterable[str] = (),
    words: Sequence[str] = (),
    note: str = "",
) -> ASGIApp:
    """The server as an ASGI app.

    Args:
        models: by the names that they are shown under, at least one.
        limits: what a request may cost.
        names: further names that the server goes by, see `Guard`.
        words: that the page asks a model of words for to begin with.
        note: a sentence that the page shows above everything.
    """
    answering = Answering(models, limits)
    line = Line(answering, limits)
    beginning = {
        "models": [
            {"name": name, "tasks": model.tasks, "words": model.takes_words} for name, model in answering.models.items()
        ],
        "words": list(words),
        "note": note,
        "limits": {"upload": limits.upload, "pixels": limits.pixels, "words": limits.words, "word": limits.word},
    }

    async def segment(request: Request) -> Response:
        place = line.enter()
        try:
            body = await _body(request, limits, place)
            question = read_question(body, request.query_params.multi_items(), limits)
            answer = await place.answer(question, lambda: _gone(request))
            return Response(answer or b"", media_type="application/json")
        finally:
            place.leave()

    async def begin(request: Request) -> Response:
        return JSONResponse(beginning)

    routes = [
        *(Route(path, _file(_PAGE / name)) for path, name in _FILES.items()),
        Route("/example.png", _file(EXAMPLE, "image/png")),
        Route("/models", begin),
        Route("/segment", segment, methods=["POST"]),
    ]

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        line.close()

    handlers: Any = {Refused: _refused, HTTPException: _no_route, ClientDisconnect: _left, Exception: _failed}
    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan), names)


def _file(path: Path, media_type: str | None = None) -> Callable[[Request], Awaitable[Response]]:
    content = path.read_bytes()  # once: a request names no file

    async def send(request: Request) -> Response:
        return Response(content, headers={"content-type": media_type or _TYPES[path.suffix]})

    return send


async def _body(request: Request, limits: Limits, place: Place) -> bytes:
    """The request's body, a picture's file. Raises Refused where it is too large, too slow, or a form."""
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Refused(415, "send the bytes of the picture's file as the body, not a form (curl --data-binary @FILE)")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.upload and "expect" in request.headers:
        raise _too_large(limits)  # the client has sent nothing yet
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.upload:
                    place.bring(len(chunk))
                    chunks.append(chunk)
                elif size > _READ_ON * limits.upload:
                    break
                else:  # is read on and forgotten: who is still sending would not see an answer
                    chunks.clear()
    except TimeoutError:
        raise Refused(408, f"the picture did not arrive within {limits.upload_seconds:g} s") from None
    if size > limits.upload:
        raise _too_large(limits)
    return b"".join(chunks)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"the file is too large: at most {limits.upload / (1 << 20):g} MiB are read")


async def _gone(request: Request) -> None:
    """Returns when whoever asked is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Refused) -> Response:
    headers = {"retry-after": str(error.retry_after)} if error.retry_after else None
    return JSONResponse({"error": error.sentence}, error.status, headers)


async def _no_route(request: Request, error: HTTPException) -> Response:
    sentence = {404: "there is nothing here", 405: "this is asked in another way: POST /segment, GET the rest"}
    return JSONResponse({"error": sentence.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _left(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # which nobody reads


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("a request failed: %s", error)
    return JSONResponse({"error": "the server failed: its terminal says why"}, 500)
