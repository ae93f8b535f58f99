"""Writing to a role of a run, and listing what became of its messages."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.capability.wire import json_value
from shared.errors import NotFound
from tests.fakes.agent_service import RUN_ID, FakeAgent
from tests.unit.services.cli.conftest import Waystation


def sent(agent: FakeAgent) -> Any:
    request: Any = agent.requests[-1]
    assert request.run_id == RUN_ID
    return request.message


def test_a_text_is_sent_to_a_role_under_an_id(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "message", RUN_ID, "--to", "coder", "use tabs").stdout
    message = sent(agent)
    assert (message.sender_role, message.recipient_role) == ("user", "coder")
    assert json_value(message.payload) == {"text": "use tabs"}
    assert message.message_id in output and "next hop of coder" in output


def test_a_payload_has_a_sender_an_id_and_an_end(waystation: Waystation, agent: FakeAgent) -> None:
    words = (
        "--json-payload",
        '{"line": 3}',
        "--from",
        "ops",
        "--id",
        "m-1",
        "--reply-to",
        "m-0",
        "--expires-in",
        "10m",
    )
    document = json.loads(waystation("runs", "message", RUN_ID, "--to", "coder", *words, "--json").stdout)
    message = sent(agent)
    assert (message.message_id, message.sender_role, message.in_reply_to) == ("m-1", "ops", "m-0")
    assert message.expire_time.ToDatetime(UTC) <= datetime.now(UTC) + timedelta(minutes=10)
    assert document["payload"] == {"line": 3}


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "coder"),
        ("hello",),
        ("hello", "--to", "coder", "--json-payload", "{}"),
        ("--to", "coder", "--json-payload", "{"),
        ("--to", "coder", "--json-payload", "[1]"),
    ],
    ids=["nothing", "to nobody", "two things", "no JSON", "no object"],
)
def test_what_cannot_be_sent_is_said_before_anything_is_sent(
    waystation: Waystation, agent: FakeAgent, words: tuple[str, ...]
) -> None:
    assert waystation("runs", "message", RUN_ID, *words).exit_code == 2
    assert agent.requests == []


def test_an_error_of_the_agent_is_a_document(waystation: Waystation, agent: FakeAgent) -> None:
    agent.failures = [NotFound("The run has no role 'x'.", remedy="Known: coder.")]
    result = waystation("runs", "message", RUN_ID, "--to", "x", "hello", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["reason"] == "NOT_FOUND"


def test_messages_are_listed_with_what_became_of_them(waystation: Waystation, agent: FakeAgent) -> None:
    output = waystation("runs", "messages", RUN_ID).stdout
    assert "reviewer" in output and "dead lettered: expired" in output and '{"line": 3}' in output
    document = json.loads(waystation("runs", "messages", RUN_ID, "--limit", "5", "--json").stdout)
    assert document["messages"][0]["message_id"] == "m-1"
    request: Any = agent.requests[-1]
    assert request.page_size == 5
