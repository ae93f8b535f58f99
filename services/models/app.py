"""The HTTP door: OpenAI's chat completions, checked and bounded, in front of a backend."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from services.models.backend import Backend, Refused
from services.models.settings import ModelsSettings


def build_app(backend: Backend, settings: ModelsSettings) -> Starlette:
    """`/health`, `/v1/models` and `/v1/chat/completions` over a backend."""

    async def health(_: Request) -> Response:
        models = list(backend.models())
        return JSONResponse({"status": "ok" if models else "no models", "models": models})

    async def list_models(_: Request) -> Response:
        rows = [{"id": name, "object": "model", "owned_by": "waystation"} for name in backend.models()]
        return JSONResponse({"object": "list", "data": rows})

    async def chat(request: Request) -> Response:
        stack = AsyncExitStack()
        try:
            body = await _read(request, settings)
            opening = asyncio.ensure_future(stack.enter_async_context(backend.chat(body)))
            reply = await _unless_left(request, opening)
        except Refused as refused:
            await stack.aclose()
            return error_response(refused)

        async def send() -> AsyncIterator[bytes]:
            # the response's task is cancelled when the client leaves; then this closes the backend's context
            async with stack:
                async for block in reply.body:
                    yield block

        return StreamingResponse(send(), reply.status, media_type=reply.media_type)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", list_models),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ]
    )


def error_response(refused: Refused) -> JSONResponse:
    """The error in OpenAI's format."""
    error = {"message": refused.message, "type": "waystation", "code": refused.code}
    return JSONResponse({"error": error}, refused.status)


async def _unless_left(request: Request, opening: "asyncio.Future[Any]") -> Any:
    """Wait for the backend's first word, and let go of it when the client leaves before."""
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({opening, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            raise Refused(499, "client_left", "The client left.")
        return opening.result()
    finally:
        leaving.cancel()
        opening.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read(request: Request, settings: ModelsSettings) -> dict[str, Any]:
    raw = bytearray()
    async for block in request.stream():
        raw += block
        if len(raw) > settings.max_request_bytes:
            limit = settings.max_request_bytes
            raise Refused(413, "request_too_large", f"The request has more than {limit} bytes.")
    try:
        body = json.loads(raw)
    except ValueError:
        raise Refused(400, "invalid_json", "The request is not JSON.") from None
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise Refused(400, "invalid_messages", "`messages` must be a list of objects with text in `content`.")
    limit = settings.max_output_tokens
    wanted = body.get("max_tokens", limit)
    if not isinstance(wanted, int) or not 0 < wanted <= limit:
        raise Refused(400, "invalid_max_tokens", f"`max_tokens` must be from 1 to {limit}.")
    return {**body, "max_tokens": wanted}


def _is_message(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("content"), str)
