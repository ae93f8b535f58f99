"""Finished replies come from the ledger when a step is done again."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.call_context import CallContext, EffectKeys, serving
from shared.errors import ModelUnavailable
from shared.models.chat import ChatDelta, ChatMessage, ChatModel
from shared.models.recorded_chat import RecordedChatModel
from shared.storage.database import Database
from shared.storage.ledger import SCHEMA, Ledger
from tests.fakes.chat import ScriptedChatModel

ASK = [ChatMessage("user", "What is it?")]
OTHER = [ChatMessage("user", "What else?")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "agent.db", SCHEMA)
    database.open()
    yield database
    database.close()


def step(name: str = "thread/task") -> CallContext:
    """The context of one attempt of a step."""
    return CallContext(effect_keys=EffectKeys(name))


async def text_of(model: ChatModel, messages: list[ChatMessage] = ASK) -> str:
    return (await model.complete(messages)).text


async def test_a_step_done_again_gets_the_same_replies_for_nothing(database: Database) -> None:
    scripted = ScriptedChatModel(["one", "two", "three"])
    model = RecordedChatModel(scripted, Ledger(database))
    for _ in range(2):
        with serving(step()):
            assert [await text_of(model), await text_of(model), await text_of(model, OTHER)] == ["one", "two", "three"]
    assert len(scripted.requests) == 3


async def test_the_order_of_different_requests_does_not_matter(database: Database) -> None:
    model = RecordedChatModel(ScriptedChatModel(["it", "else"]), Ledger(database))
    with serving(step()):
        assert (await text_of(model), await text_of(model, OTHER)) == ("it", "else")
    with serving(step()):
        assert (await text_of(model, OTHER), await text_of(model)) == ("else", "it")


async def test_a_recorded_stream_comes_as_one_piece_with_the_usage_it_once_cost(database: Database) -> None:
    model = RecordedChatModel(ScriptedChatModel(["a\nb\n"]), Ledger(database))
    with serving(step()):
        first = [delta async for delta in model.stream(ASK)]
    with serving(step()):
        again = [delta async for delta in model.stream(ASK)]
    assert [delta.text for delta in first] == ["a\n", "b\n", ""]
    assert again == [ChatDelta("a\nb\n"), first[-1]]
    assert first[-1].usage and first[-1].usage.output_tokens == 2


async def test_another_step_and_work_without_a_name_ask_the_model(database: Database) -> None:
    scripted = ScriptedChatModel(["one", "two", "three", "four"])
    model = RecordedChatModel(scripted, Ledger(database))
    replies = []
    for context in (step("thread/a"), step("thread/b"), CallContext()):
        with serving(context):
            replies.append(await text_of(model))
    assert [*replies, await text_of(model)] == ["one", "two", "three", "four"]


async def test_what_was_not_finished_is_asked_again(database: Database) -> None:
    scripted = ScriptedChatModel([ModelUnavailable("away"), "a\nb\n", "whole"])
    model = RecordedChatModel(scripted, Ledger(database))
    with serving(step()), pytest.raises(ModelUnavailable):
        await text_of(model)
    with serving(step()):
        async for _ in model.stream(ASK):
            break  # the caller leaves in the middle
    with serving(step()):
        assert await text_of(model) == "whole"


async def test_a_ledger_that_fails_costs_a_generation_and_no_reply(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    model = RecordedChatModel(ScriptedChatModel(["one", "two"]), Ledger(database))
    with serving(step()):
        assert await text_of(model) == "one"
    await database.write(lambda connection: connection.execute("UPDATE effects SET outcome = x'00'") and None)
    with caplog.at_level(logging.ERROR), serving(step()):
        assert await text_of(model) == "two"
    database.close()
    with serving(step()):
        with pytest.raises(IndexError):  # the script is over: the model was asked
            await text_of(model)
    assert "is damaged" in caplog.text and "agent.db is closed" in caplog.text
