"""Replies as OpenAI's API has them: one document, or a stream of chunks that ends early when the client leaves."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from services.models.backend import Backend, Piece
from services.models.chat_request import ChatRequest
from services.models.http_errors import error_document, error_response
from shared.errors import InternalError, WaystationError

logger = logging.getLogger(__name__)

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ChatAnswer(Response):
    """Answers one request. The backend's work is stopped as soon as the client is gone."""

    def __init__(self, backend: Backend, request: ChatRequest) -> None:
        super().__init__()
        self._backend = backend
        self._request = request
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, watching at the same time for the client's leaving."""
        work = asyncio.create_task(self._serve(scope, receive, send))
        leaving = asyncio.create_task(_client_left(receive))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            work.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        try:
            await work
        except asyncio.CancelledError:
            if not work.cancelled():
                raise

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._backend.chat(self._request)) as pieces:
            if self._request.is_stream:
                await self._stream(pieces, scope, receive, send)
            else:
                response = await self._document(pieces)
                await response(scope, receive, send)

    async def _document(self, pieces: AsyncIterator[Piece]) -> Response:
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        reason, usage = "stop", None
        try:
            async for piece in pieces:
                add_delta(message, piece.delta)
                reason, usage = piece.finish_reason or reason, piece.usage or usage
        except Exception as error:
            return error_response(_foreseen(error))
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return JSONResponse({**self._head, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def _stream(self, pieces: AsyncIterator[Piece], scope: Scope, receive: Receive, send: Send) -> None:
        is_started = False
        usage: Mapping[str, Any] | None = None
        try:
            async for piece in pieces:
                if not is_started:
                    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
                    is_started = True
                    await self._send_chunk(send, [_choice({"role": "assistant", "content": ""})])
                usage = piece.usage or usage
                if piece.delta or piece.finish_reason:
                    await self._send_chunk(send, [_choice(piece.delta, piece.finish_reason or None)])
        except Exception as error:
            if not is_started:
                await error_response(_foreseen(error))(scope, receive, send)
                return
            await _send_event(send, json.dumps(error_document(_foreseen(error))), is_last=True)
            return
        if self._request.wants_usage:
            await self._send_chunk(send, [], usage)
        await _send_event(send, "[DONE]", is_last=True)

    async def _send_chunk(
        self, send: Send, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None = None
    ) -> None:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        await _send_event(send, json.dumps({**chunk, "usage": usage} if usage else chunk, ensure_ascii=False))


def add_delta(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Join a chunk's delta to the message so far."""
    message["content"] += delta.get("content") or ""
    for part in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        while len(calls) <= part.get("index", 0):
            calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[part.get("index", 0)]
        call["id"] = part.get("id") or call["id"]
        for key in ("name", "arguments"):
            call["function"][key] += part.get("function", {}).get(key) or ""


def _choice(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


async def _send_event(send: Send, data: str, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": not is_last})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _foreseen(error: Exception) -> WaystationError:
    if isinstance(error, WaystationError):
        return error
    logger.error("a chat request failed", exc_info=error)
    return InternalError("Something unforeseen happened; the log of the model server has the details.")
