"""The scripted backend: rules in order, loud when none fits."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.models.backend import Piece
from services.models.chat_request import parse_request
from services.models.scripted import ScriptedBackend, ScriptedFailure, load_script
from shared.errors import InvalidInput


def script(tmp_path: Path, *rules: dict[str, Any]) -> ScriptedBackend:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(rules))
    return load_script(path)


async def ask(backend: ScriptedBackend, text: str, schema: str = "", **fields: Any) -> list[Piece]:
    messages = [{"role": "system", "content": "you are brief"}, {"role": "user", "content": text}]
    document: dict[str, Any] = {"messages": messages, **fields}
    if schema:
        document["response_format"] = {"type": "json_schema", "json_schema": {"name": schema, "schema": {}}}
    request = parse_request(json.dumps(document).encode(), default_tokens=100, max_tokens=100)
    return [piece async for piece in backend.chat(request)]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.delta.get("content", "") for piece in pieces)


async def test_the_first_rule_that_fits_answers(tmp_path: Path) -> None:
    backend = script(tmp_path, {"match": "weather", "reply": "rain"}, {"match": ".*", "reply": "else"})
    assert text_of(await ask(backend, "the weather?")) == "rain"
    assert text_of(await ask(backend, "the news?")) == "else"


async def test_rules_see_all_messages_or_only_the_last_of_the_user(tmp_path: Path) -> None:
    backend = script(tmp_path, {"match": "brief", "where": "last", "reply": "last"}, {"match": "brief", "reply": "all"})
    assert text_of(await ask(backend, "hello")) == "all"
    assert text_of(await ask(backend, "be brief")) == "last"


async def test_a_json_reply_answers_a_request_with_its_schema(tmp_path: Path) -> None:
    backend = script(
        tmp_path, {"schema_name": "^decision$", "reply": {"action": "answer"}}, {"match": ".*", "reply": "plain"}
    )
    assert json.loads(text_of(await ask(backend, "x", schema="decision"))) == {"action": "answer"}
    assert text_of(await ask(backend, "x", schema="other")) == "plain"
    assert text_of(await ask(backend, "x")) == "plain"


async def test_a_rule_is_used_up_after_its_times(tmp_path: Path) -> None:
    backend = script(tmp_path, {"reply": "once", "times": 1}, {"reply": "then"})
    assert [text_of(await ask(backend, "x")) for _ in range(3)] == ["once", "then", "then"]


async def test_the_last_piece_tells_tokens_and_why_it_ended(tmp_path: Path) -> None:
    backend = script(tmp_path, {"reply": "one two  three\n"})
    whole, cut = await ask(backend, "x"), await ask(backend, "x", max_tokens=2)
    assert text_of(whole) == "one two  three\n"
    assert whole[-1].finish_reason == "stop"
    assert whole[-1].usage is not None and whole[-1].usage["prompt_tokens"] == 4
    assert (text_of(cut), cut[-1].finish_reason) == ("one two", "length")


async def test_a_request_without_a_rule_fails_loudly(tmp_path: Path) -> None:
    with pytest.raises(ScriptedFailure) as caught:
        await ask(script(tmp_path, {"match": "other"}), "unforeseen question", schema="plan")
    assert caught.value.http_status == 500
    assert "unforeseen question" in caught.value.message
    assert "plan" in caught.value.message


async def test_a_rule_can_fail(tmp_path: Path) -> None:
    with pytest.raises(ScriptedFailure) as caught:
        await ask(script(tmp_path, {"fail": 429}), "x")
    assert caught.value.http_status == 429


async def test_a_hanging_rule_waits_until_it_is_left(tmp_path: Path) -> None:
    asking = asyncio.create_task(ask(script(tmp_path, {"hang": True}), "x"))
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    "content", ["", "{}", '"x"', "[1]", '[{"mach": "x"}]', '[{"match": "("}]', '{"rules": {"match": "x"}}']
)
def test_a_bad_script_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"script\.json"):
        load_script(path)


def test_a_missing_script_is_refused_with_the_setting() -> None:
    with pytest.raises(InvalidInput, match="WAYSTATION_MODELS_SCRIPT"):
        load_script(None)
    with pytest.raises(InvalidInput, match="nowhere"):
        load_script(Path("/nowhere/script.json"))
