"""What the door accepts of a chat request, and what it refuses."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from services.models.chat_request import ChatRequest, parse_request
from shared.errors import InvalidInput

HELLO = [{"role": "user", "content": "hello"}]


def parse(document: Any) -> ChatRequest:
    return parse_request(json.dumps(document).encode(), default_tokens=100, max_tokens=200)


@dataclass(frozen=True)
class Bad:
    field: str
    document: Any


BAD = [
    Bad("body", "just a text"),
    Bad("body", [1]),
    Bad("messages", {}),
    Bad("messages", {"messages": []}),
    Bad("messages", {"messages": "hello"}),
    Bad("messages[0]", {"messages": ["hello"]}),
    Bad("messages[0]", {"messages": [{"role": "robot", "content": "x"}]}),
    Bad("messages[1]", {"messages": [*HELLO, {"role": "user", "content": 7}]}),
    Bad("max_tokens", {"messages": HELLO, "max_tokens": 201}),
    Bad("max_tokens", {"messages": HELLO, "max_tokens": 0}),
    Bad("max_tokens", {"messages": HELLO, "max_tokens": "ten"}),
    Bad("max_tokens", {"messages": HELLO, "max_tokens": True}),
    Bad("n", {"messages": HELLO, "n": 2}),
    Bad("tools", {"messages": HELLO, "tools": "calculator"}),
    Bad("response_format", {"messages": HELLO, "response_format": "json"}),
    Bad("response_format", {"messages": HELLO, "response_format": {"type": "json_schema"}}),
    Bad("response_format", {"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {}}}),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.field}-{str(bad.document)[:40]}")
def test_a_bad_request_is_refused_by_field(bad: Bad) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(bad.document)
    assert caught.value.metadata["field"] == bad.field


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        parse_request(body, default_tokens=1, max_tokens=1)


def test_defaults_suit_a_minimal_request() -> None:
    request = parse({"messages": HELLO})
    assert (request.model, request.max_tokens, request.is_stream, request.is_json) == ("default", 100, False, False)
    assert request.sampling == {}


def test_only_known_fields_reach_the_model() -> None:
    request = parse({"messages": HELLO, "temperature": 0.5, "stop": ["x"], "id_slot": 3, "return_progress": False})
    assert request.sampling == {"temperature": 0.5, "stop": ["x"]}


def test_the_schema_and_its_name_are_taken() -> None:
    schema = {"type": "object"}
    wanted = {"type": "json_schema", "json_schema": {"name": "decision", "schema": schema}}
    request = parse({"messages": HELLO, "response_format": wanted})
    assert (request.schema, request.schema_name, request.is_json) == (schema, "decision", True)


def test_texts_are_found_in_strings_and_parts() -> None:
    parts = [{"type": "text", "text": "what "}, {"type": "text", "text": "now"}]
    request = parse(
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": parts},
                {"role": "assistant"},
            ]
        }
    )
    assert request.last_user_text == "what now"
    assert request.full_text == "be brief\nwhat now\n"
