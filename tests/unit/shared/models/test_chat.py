"""The chat client against a real HTTP server that behaves well, badly and not at all."""

import asyncio
import time
from typing import Any

import pytest

from shared.call_context import CallContext, serving
from shared.errors import DeadlineExceeded, LimitExceeded, ModelNonsense, ModelUnavailable
from shared.models.chat import ChatDelta, ChatMessage, Completion, OpenAiChatModel
from tests.fakes.chat_server import chat_server, delta, sse

HELLO = [ChatMessage("system", "Be short."), ChatMessage("user", "Hello?")]
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
WHOLE = sse(delta("Hel"), delta("lo", "stop"), {"choices": [], "usage": USAGE}, "[DONE]")
KEY = "sk-canary-123"


async def complete(url: str, **options: Any) -> Completion:
    model = OpenAiChatModel(url, "tiny", KEY)
    try:
        return await model.complete(HELLO, **({"timeout": 5.0} | options))
    finally:
        await model.close()


async def test_a_reply_streams_piece_by_piece_and_ends_with_its_usage() -> None:
    async with chat_server(pieces=WHOLE) as server:
        model = OpenAiChatModel(server.url, "tiny")
        deltas: list[ChatDelta] = [item async for item in model.stream(HELLO, timeout=20)]
        await model.close()
    assert [item.text for item in deltas] == ["Hel", "lo", ""]
    usage = deltas[-1].usage
    assert usage is not None
    assert (usage.model, usage.input_tokens, usage.output_tokens, usage.cached_tokens) == ("tiny", 7, 2, 4)
    assert 0 < usage.time_to_first_token_s <= usage.duration_s


async def test_messages_limits_and_key_are_sent() -> None:
    async with chat_server(pieces=WHOLE) as server:
        await complete(server.url, max_tokens=9, temperature=0.5)
    [body], [headers] = server.bodies, server.headers
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello?"},
    ]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 9, 0.5)
    assert "response_format" not in body
    assert headers["authorization"] == f"Bearer {KEY}"


async def test_a_schema_is_passed_on_and_the_reply_parsed() -> None:
    schema = {"title": "decision", "type": "object", "properties": {"go": {"type": "boolean"}}}
    async with chat_server(pieces=sse(delta('{"go": '), delta("true}", "stop"))) as server:
        completion = await complete(server.url, schema=schema)
    assert completion.json() == {"go": True}
    response_format = server.bodies[0]["response_format"]
    assert response_format["type"] == "json_schema"
    assert response_format["json_schema"] == {"name": "decision", "strict": True, "schema": schema}


def test_a_reply_that_is_not_json_is_nonsense() -> None:
    with pytest.raises(ModelNonsense, match="not JSON"):
        Completion("{oops").json()


async def test_a_full_server_is_a_limit() -> None:
    async with chat_server(status="429 Too Many Requests", pieces=["slow down"]) as server:
        with pytest.raises(LimitExceeded, match="slow down"):
            await complete(server.url)


async def test_a_broken_server_is_named_with_what_it_said_and_a_remedy() -> None:
    async with chat_server(status="500 Internal Server Error", pieces=["out of memory"]) as server:
        with pytest.raises(ModelUnavailable, match=r"tiny at .*HTTP 500: out of memory") as caught:
            await complete(server.url)
    assert "waystation models pull" in caught.value.remedy


async def test_a_long_error_page_is_cut() -> None:
    async with chat_server(status="500 Internal Server Error", pieces=["x" * 1000] * 1000) as server:
        with pytest.raises(ModelUnavailable) as caught:
            await complete(server.url)
    assert len(caught.value.message) < 3000


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with chat_server() as server:
        url = server.url
    with pytest.raises(ModelUnavailable, match="does not answer"):
        await complete(url)


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1", "http://127.0.0.1:port/v1"])
async def test_a_malformed_url_is_unavailable(url: str) -> None:
    with pytest.raises(ModelUnavailable):
        await complete(url)


@pytest.mark.parametrize("is_dropped", [True, False], ids=["cut off", "closed cleanly"])
async def test_a_reply_without_its_end_is_not_taken_for_whole(is_dropped: bool) -> None:
    async with chat_server(pieces=WHOLE[:1], is_dropped=is_dropped) as server:
        with pytest.raises(ModelUnavailable):
            await complete(server.url)


async def test_an_error_in_the_middle_of_the_stream_is_reported() -> None:
    async with chat_server(pieces=sse(delta("Hel"), {"error": {"message": "slot lost"}})) as server:
        with pytest.raises(ModelUnavailable, match="slot lost"):
            await complete(server.url)


async def test_a_hanging_server_is_left_when_time_is_up() -> None:
    async with chat_server(pieces=WHOLE[:1], is_hanging=True) as server:
        with pytest.raises(DeadlineExceeded):
            await complete(server.url, timeout=0.1)
        await asyncio.wait_for(server.client_left.wait(), 20)


async def test_the_deadline_of_the_served_call_bounds_the_model_call() -> None:
    call = CallContext(deadline=time.monotonic() + 0.1)
    async with chat_server(is_hanging=True) as server:
        with serving(call), pytest.raises(DeadlineExceeded):
            await complete(server.url, timeout=60)


async def test_a_slow_reader_is_not_cancelled_by_the_timeout() -> None:
    async with chat_server(pieces=WHOLE[:1], is_hanging=True) as server:
        model = OpenAiChatModel(server.url, "tiny")
        with pytest.raises(DeadlineExceeded):
            async for _ in model.stream(HELLO, timeout=0.1):
                with pytest.raises(TimeoutError):  # and not CancelledError: the reader's own wait goes on
                    await asyncio.wait_for(asyncio.Event().wait(), 0.2)
        await model.close()


async def test_leaving_the_stream_frees_the_slot() -> None:
    async with chat_server(pieces=WHOLE[:1], is_hanging=True) as server:
        model = OpenAiChatModel(server.url, "tiny")
        deltas = model.stream(HELLO, timeout=20)
        assert (await anext(deltas)).text == "Hel"
        await deltas.aclose()
        await asyncio.wait_for(server.client_left.wait(), 20)
        await model.close()


GARBAGE: tuple[object, ...] = (
    "not json",
    "5",
    "null",
    '["list"]',
    {"choices": None},
    {"choices": [5]},
    {"choices": [{"delta": None}]},
    {"choices": [{"delta": {"content": ["x"]}, "finish_reason": "stop"}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": "many"}},
    {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": [1]}},
)


@pytest.mark.parametrize("chunk", GARBAGE, ids=str)
async def test_garbage_is_nonsense(chunk: object) -> None:
    async with chat_server(pieces=sse(chunk, "[DONE]")) as server:
        with pytest.raises(ModelNonsense, match="breaks the protocol"):
            await complete(server.url)


async def test_a_page_instead_of_a_stream_is_nonsense() -> None:
    async with chat_server(media_type="text/html", pieces=["<h1>Welcome</h1>"]) as server:
        with pytest.raises(ModelNonsense, match="text/html"):
            await complete(server.url)


@pytest.mark.parametrize(
    "dials",
    [
        {"status": "401 Unauthorized", "pieces": [f"Incorrect API key provided: {KEY}"]},
        {"status": "429 Too Many Requests", "pieces": [f"{KEY} has no quota"]},
        {"pieces": sse({"error": f"key {KEY} expired"})},
    ],
    ids=["refused", "limited", "in the stream"],
)
async def test_no_secret_is_in_an_error(dials: dict[str, Any]) -> None:
    async with chat_server(**dials) as server:
        url = server.url.replace("http://", "http://user:hunter2@")
        with pytest.raises((ModelUnavailable, LimitExceeded)) as caught:
            await complete(url)
    shown = f"{caught.value} {caught.value.metadata}"
    assert KEY not in shown
    assert "hunter2" not in shown
