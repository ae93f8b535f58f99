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
from shared.fault_points import fault_point

logger = logging.getLogger(__name__)

CHUNK = "chat.completion.chunk"
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
        fault_point("during_call")
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
        ending = b""
        try:
            async for piece in pieces:
                usage = piece.usage or usage
                if piece.finish_reason:
                    ending += self._chunk(piece.delta, piece.finish_reason)
                elif piece.delta and is_started:
                    await _send_body(send, self._chunk(piece.delta))
                elif piece.delta:
                    await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
                    is_started = True
                    await _send_body(send, self._chunk({"role": "assistant", **piece.delta}))
        except Exception as error:
            if not is_started:
                await error_response(_foreseen(error))(scope, receive, send)
                return
            await _send_body(send, _event(error_document(_foreseen(error))), is_last=True)
            return
        if not is_started:
            await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        if self._request.wants_usage:
            ending += _event({**self._head, "object": CHUNK, "choices": [], "usage": usage})
        await _send_body(send, ending + b"data: [DONE]\n\n", is_last=True)

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return _event({**self._head, "object": CHUNK, "choices": [choice]})


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


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


async def _send_body(send: Send, body: bytes, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})
    fault_point("while_streaming")


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _foreseen(error: Exception) -> WaystationError:
    if isinstance(error, WaystationError):
        return error
    logger.error("a chat request failed", exc_info=error)
    return InternalError("Something unforeseen happened; the log of the model server has the details.")
