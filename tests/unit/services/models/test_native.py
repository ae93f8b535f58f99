"""The native backend before a stand-in for llama.cpp's server: a real HTTP server that speaks its dialect."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from services.models import native
from services.models.backend import Piece
from services.models.chat_request import ChatRequest, parse_request
from services.models.llama_server import LlamaOptions, LlamaServer
from services.models.native import NativeBackend
from services.models.settings import ModelsSettings
from shared.errors import InvalidInput, LimitExceeded, ModelCorrupt, ModelMissing, ModelUnavailable, NotFound
from shared.http_server import http_server
from shared.models.manifest import CHAT_MODEL, LOW_EFFORT_CHAT_MODEL, Manifest, load_manifest

CONTENT = b"a tiny model"
PROGRESS = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}], "prompt_progress": {"total": 9}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


@dataclass
class FakeLlama:
    """Stands in for llama.cpp: remembers what it was asked, answers what it was told, and sees who leaves."""

    key: str = "secret"
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    refuse: Response | None = None
    chunks: list[dict[str, Any]] = field(default_factory=list)
    is_hanging: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> Response:
        """The chat endpoint."""
        self.bodies.append(await request.json())
        self.keys.append(request.headers["authorization"])
        return self.refuse or StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        try:
            yield _line(PROGRESS)
            self.asked.set()
            if self.is_hanging:
                await asyncio.Event().wait()
            for chunk in self.chunks:
                yield _line(chunk)
            yield "data: [DONE]\n\n"
        finally:
            self.left.set()

    def close(self) -> None:
        """Like `LlamaServer.close`."""


def _line(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def text_chunk(text: str, reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": reason}]}


@pytest.fixture(autouse=True)
def tiny_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    entries = [
        entry if entry.is_bundled else replace(entry, size=len(CONTENT), sha256=sha256) for entry in load_manifest()
    ]
    monkeypatch.setattr(native, "load_manifest", lambda: Manifest(tuple(entries)))


def put_model(home: Path, name: str = CHAT_MODEL, content: bytes = CONTENT) -> None:
    path = home / "models" / load_manifest().entry(name).file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


@asynccontextmanager
async def running(home: Path, llama: FakeLlama, **settings: Any) -> AsyncIterator[NativeBackend]:
    def start(path: Path, options: LlamaOptions) -> LlamaServer:
        return cast(LlamaServer, llama)

    async with AsyncExitStack() as stack:
        app = Starlette(routes=[Route("/v1/chat/completions", llama.answer, methods=["POST"])])
        port = await stack.enter_async_context(http_server(app, "127.0.0.1", 0, port_setting="X", drain_s=1))
        llama.url = f"http://127.0.0.1:{port}"
        backend = NativeBackend(ModelsSettings(home=home, **settings), start)
        await stack.enter_async_context(backend.running())
        yield backend


def request_of(text: str = "hello", **fields: Any) -> ChatRequest:
    document = {"messages": [{"role": "user", "content": text}], **fields}
    return parse_request(json.dumps(document).encode(), default_tokens=50, max_tokens=100)


async def ask(backend: NativeBackend, request: ChatRequest) -> list[Piece]:
    return [piece async for piece in backend.chat(request)]


async def test_a_reply_comes_through_without_the_progress(tmp_path: Path) -> None:
    put_model(tmp_path)
    llama = FakeLlama(
        chunks=[text_chunk("Hel"), text_chunk("lo"), text_chunk("", "stop"), {"choices": [], "usage": USAGE}]
    )
    async with running(tmp_path, llama) as backend:
        pieces = await ask(backend, request_of())
        assert backend.model_states() == {CHAT_MODEL: "ready", LOW_EFFORT_CHAT_MODEL: "absent"}
    assert pieces == [
        Piece({"content": "Hel"}),
        Piece({"content": "lo"}),
        Piece({}, "stop"),
        Piece({}, usage=USAGE),
    ]


async def test_llama_gets_its_key_a_slot_and_the_order_to_tell_progress(tmp_path: Path) -> None:
    put_model(tmp_path)
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema}}
    async with running(tmp_path, llama := FakeLlama()) as backend:
        await ask(backend, request_of(response_format=wanted, temperature=0.5))
    assert llama.keys == ["Bearer secret"]
    [body] = llama.bodies
    assert (body["id_slot"], body["return_progress"], body["stream"]) == (0, True, True)
    assert (body["max_tokens"], body["temperature"]) == (50, 0.5)
    assert body["response_format"]["json_schema"] == {"name": "plan", "strict": True, "schema": schema}


async def test_leaving_while_the_prompt_is_read_closes_the_connection(tmp_path: Path) -> None:
    put_model(tmp_path)
    llama = FakeLlama(is_hanging=True)
    async with running(tmp_path, llama, slots=1) as backend:
        asking = asyncio.create_task(ask(backend, request_of()))
        async with asyncio.timeout(20):
            await llama.asked.wait()
            asking.cancel()
            await llama.left.wait()
            await asyncio.gather(asking, return_exceptions=True)
            llama.is_hanging = False
            assert await ask(backend, request_of()) == []  # the only slot is free again


async def test_more_requests_than_may_wait_are_refused(tmp_path: Path) -> None:
    put_model(tmp_path)
    llama = FakeLlama(is_hanging=True)
    async with running(tmp_path, llama, slots=1, max_waiting=0) as backend:
        asking = asyncio.create_task(ask(backend, request_of()))
        async with asyncio.timeout(20):
            await llama.asked.wait()
        with pytest.raises(LimitExceeded):
            await ask(backend, request_of())
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_missing_file_names_the_command_that_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path, FakeLlama()) as backend:
        with pytest.raises(ModelMissing) as caught:
            await ask(backend, request_of())
        assert "waystation models pull" in caught.value.remedy
        put_model(tmp_path)
        await ask(backend, request_of())  # pulled meanwhile: no restart is needed


async def test_a_file_with_a_wrong_sum_is_not_loaded(tmp_path: Path) -> None:
    put_model(tmp_path, content=b"another model")
    async with running(tmp_path, FakeLlama()) as backend:
        assert backend.model_states()[CHAT_MODEL] == "absent"
        assert list((tmp_path / "models").glob("*.rejected-1"))
    put_model(tmp_path)
    async with running(tmp_path, FakeLlama()) as backend:
        put_model(tmp_path, LOW_EFFORT_CHAT_MODEL, b"x" * len(CONTENT))
        with pytest.raises(ModelCorrupt):
            await ask(backend, request_of(model="low"))


async def test_a_model_that_cannot_be_loaded_is_unavailable(tmp_path: Path) -> None:
    put_model(tmp_path)

    def start(path: Path, options: LlamaOptions) -> LlamaServer:
        raise RuntimeError("out of memory")

    backend = NativeBackend(ModelsSettings(home=tmp_path), start)
    async with backend.running():
        with pytest.raises(ModelUnavailable, match="out of memory"):
            await ask(backend, request_of())


async def test_aliases_and_unknown_names(tmp_path: Path) -> None:
    async with running(tmp_path, FakeLlama()) as backend:
        assert [backend.resolve(name) for name in ("default", "chat", "low")] == [
            CHAT_MODEL,
            CHAT_MODEL,
            LOW_EFFORT_CHAT_MODEL,
        ]
        with pytest.raises(NotFound) as caught:
            backend.resolve("gpt-9")
        assert CHAT_MODEL in caught.value.remedy


async def test_a_prompt_that_is_too_long_is_the_callers_mistake(tmp_path: Path) -> None:
    put_model(tmp_path)
    error = {"code": 400, "message": "9000 tokens exceed 4096", "type": "exceed_context_size_error"}
    async with running(tmp_path, FakeLlama(refuse=JSONResponse({"error": error}, 400))) as backend:
        with pytest.raises(InvalidInput, match="longer than the context") as caught:
            await ask(backend, request_of())
    assert caught.value.metadata["code"] == "context_length_exceeded"


@pytest.mark.parametrize(("status", "kind"), [(400, InvalidInput), (500, ModelUnavailable)])
async def test_refusals_of_llama_are_typed(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    put_model(tmp_path)
    refused = JSONResponse({"error": {"message": "bad grammar", "type": "x"}}, status)
    async with running(tmp_path, FakeLlama(refuse=refused)) as backend:
        with pytest.raises(kind, match="bad grammar"):
            await ask(backend, request_of())


async def test_an_error_in_the_middle_of_a_reply_is_raised(tmp_path: Path) -> None:
    put_model(tmp_path)
    llama = FakeLlama(chunks=[text_chunk("Hel"), {"error": {"message": "decode failed", "type": "server_error"}}])
    async with running(tmp_path, llama) as backend:
        texts = []
        with pytest.raises(ModelUnavailable, match="decode failed"):
            async with aclosing(backend.chat(request_of())) as pieces:
                async for piece in pieces:
                    texts.append(piece.delta["content"])
    assert texts == ["Hel"]
