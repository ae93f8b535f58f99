"""The HTTP door over a real server on a free port, with the scripted backend behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.models.app import build_app
from services.models.backend import Piece
from services.models.chat_request import ChatRequest
from services.models.scripted import Rule, ScriptedBackend
from services.models.settings import ModelsSettings
from shared.http_server import http_server

RULES = [
    {"match": "hello", "reply": "hi there"},
    {"match": "fail", "fail": 503},
    {"match": "hang", "hang": True},
    {"match": "break", "reply": "never whole"},
]


class WatchedBackend(ScriptedBackend):
    """A scripted backend that tells when it is at work, and breaks when asked to."""

    def __init__(self) -> None:
        super().__init__([Rule(**rule) for rule in RULES])
        self.working = asyncio.Event()
        self.stopped = asyncio.Event()

    async def chat(self, request: ChatRequest) -> Any:
        """Like the scripted one."""
        self.working.set()
        try:
            async for piece in super().chat(request):
                yield piece
                if request.last_user_text == "break":
                    raise ZeroDivisionError("secret detail")
        finally:
            self.stopped.set()


@pytest.fixture
async def backend() -> WatchedBackend:
    return WatchedBackend()


@pytest.fixture
async def client(backend: WatchedBackend) -> AsyncIterator[httpx.AsyncClient]:
    settings = ModelsSettings(max_request_bytes=2000)
    async with http_server(build_app(backend, settings), "127.0.0.1", 0, port_setting="X", drain_s=1) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as opened:
            yield opened


async def ask(client: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return await client.post("/v1/chat/completions", json=body)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def test_a_whole_reply_is_one_document(client: httpx.AsyncClient) -> None:
    document = (await ask(client, "hello", model="m")).json()
    assert document["object"] == "chat.completion"
    assert document["model"] == "m"
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "hi there"}
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"]["completion_tokens"] == 2


async def test_a_stream_brings_the_reply_in_pieces(client: httpx.AsyncClient) -> None:
    response = await ask(client, "hello", stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response)
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == ["hi", " there", None]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert len({chunk["id"] for chunk in chunks}) == 1


async def test_usage_ends_a_stream_that_asks_for_it(client: httpx.AsyncClient) -> None:
    chunks = events(await ask(client, "hello", stream=True, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 3


@pytest.mark.parametrize("is_stream", [False, True])
async def test_an_error_has_openais_form(client: httpx.AsyncClient, is_stream: bool) -> None:
    refused = await ask(client, "fail", stream=is_stream)
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "server_error")
    bad = await client.post("/v1/chat/completions", json={"messages": [], "stream": is_stream})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "messages")
    unforeseen = await ask(client, "no rule for this", stream=is_stream)
    assert (unforeseen.status_code, "no rule for this" in unforeseen.text) == (500, True)


async def test_a_reply_that_breaks_ends_with_an_error_and_keeps_its_secrets(client: httpx.AsyncClient) -> None:
    streamed = await ask(client, "break", stream=True)
    assert "[DONE]" not in streamed.text
    assert '"error"' in streamed.text.splitlines()[-2]
    whole = await ask(client, "break")
    assert whole.status_code == 500
    assert "secret" not in streamed.text + whole.text


async def test_a_request_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    response = await ask(client, "x" * 3000)
    assert (response.status_code, "2000 bytes" in response.text) == (400, True)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_work_stops_when_the_client_leaves(
    client: httpx.AsyncClient, backend: WatchedBackend, is_stream: bool
) -> None:
    asking = asyncio.create_task(ask(client, "hang", stream=is_stream))
    async with asyncio.timeout(20):
        await backend.working.wait()
        asking.cancel()
        await backend.stopped.wait()


async def test_models_and_health_are_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json()["data"][0]["id"] == "scripted"
    assert (await client.get("/health")).json() == {"status": "ok", "models": {"scripted": "ready"}}


async def test_another_host_name_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health", headers={"Host": "evil.example"})).status_code == 400


async def test_tool_calls_are_joined_from_their_pieces(client: httpx.AsyncClient, backend: WatchedBackend) -> None:
    async def calls(request: ChatRequest) -> AsyncIterator[Piece]:
        for part in ({"id": "c1", "function": {"name": "add", "arguments": ""}}, {"function": {"arguments": '{"a"'}}):
            yield Piece({"tool_calls": [{"index": 0, **part}]})
        yield Piece({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, "tool_calls")

    backend.chat = calls  # type: ignore[method-assign]
    choice = (await ask(client, "hello")).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    assert choice["message"]["tool_calls"] == [call]
