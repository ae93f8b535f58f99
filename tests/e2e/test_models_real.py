"""The chat models for real: the low-effort one, from the store of WAYSTATION_HOME, over the HTTP door."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.models.__main__ import serving
from services.models.settings import ModelsSettings
from shared.models.manifest import LOW_EFFORT_CHAT_MODEL, load_manifest
from shared.models.store import ModelStore

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {
    "type": "object",
    "properties": {"tool": {"enum": ["calculator", "calendar"]}, "reason": {"type": "string", "maxLength": 60}},
    "required": ["tool", "reason"],
    "additionalProperties": False,
}
LONG_PROMPT = "Here is a list of words. " + "request server token model cache " * 260 + "How many words?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    store = ModelStore(ModelsSettings.load(os.environ).home)
    entry = load_manifest().entry(LOW_EFFORT_CHAT_MODEL)
    if store.state(entry) != "present":
        pytest.fail(f"{store.path(entry)} is not there: `waystation models pull {entry.name}` gets it.")
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "models" / entry.file).symlink_to(store.path(entry))
    async with serving(ModelsSettings(home=home, port=0)) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", trust_env=False, timeout=100) as opened:
            yield opened


def body_of(prompt: str, max_tokens: int, **fields: Any) -> dict[str, Any]:
    return {
        "model": "low",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        **fields,
    }


async def ask(client: httpx.AsyncClient, prompt: str, max_tokens: int, **fields: Any) -> Any:
    response = await client.post("/chat/completions", json=body_of(prompt, max_tokens, **fields))
    assert response.status_code == 200, response.text
    return response.json()


async def read(client: httpx.AsyncClient, prompt: str, max_tokens: int, started: asyncio.Event | None = None) -> str:
    """Stream a reply; `started` is set with its first token."""
    text = ""
    body = body_of(prompt, max_tokens, stream=True)
    async with client.stream("POST", "/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
                if started and text:
                    started.set()
    return text


async def test_a_schema_is_kept(client: httpx.AsyncClient) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": SCHEMA}}
    reply = await ask(client, "Which tool adds two numbers?", 80, response_format=wanted)
    chosen = json.loads(reply["choices"][0]["message"]["content"])
    assert chosen["tool"] in ("calculator", "calendar")
    assert reply["usage"]["completion_tokens"] > 0


async def test_four_at_once_are_all_answered(client: httpx.AsyncClient) -> None:
    texts = await asyncio.gather(*(read(client, f"Name the number {number}.", 12) for number in range(4)))
    assert all(texts)


async def test_a_known_beginning_is_not_read_again(client: httpx.AsyncClient) -> None:
    beginning = "You know these towns: " + ", ".join(f"town {number}" for number in range(60)) + ". "
    first = await ask(client, beginning + "Name one.", 4)
    again = await ask(client, beginning + "Name another.", 4)
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] < 40
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 150


async def test_a_short_prompt_is_answered_while_a_long_one_is_read(client: httpx.AsyncClient) -> None:
    long = asyncio.create_task(read(client, LONG_PROMPT, 1))
    await asyncio.sleep(0.5)  # so that its reading has begun
    assert await read(client, "Say hi.", 2)
    assert not long.done()
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)


async def test_clients_that_leave_while_their_prompts_are_read_free_their_slots(client: httpx.AsyncClient) -> None:
    started = asyncio.Event()
    writer = asyncio.create_task(read(client, "Write a very long story.", 2000, started))
    await started.wait()
    readers = [asyncio.create_task(read(client, f"{number} {LONG_PROMPT}", 1)) for number in range(3)]
    await asyncio.sleep(1)  # so that all slots are taken
    waiting = asyncio.create_task(read(client, "Say hi.", 1))
    for reader in readers:
        reader.cancel()
    async with asyncio.timeout(20):  # reading the three to their ends would take longer
        await waiting
    assert not writer.done()
    writer.cancel()
    await asyncio.gather(writer, *readers, return_exceptions=True)


async def test_a_prompt_beyond_the_context_is_refused_at_once(client: httpx.AsyncClient) -> None:
    response = await client.post("/chat/completions", json=body_of("word " * 20_000, 4))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
