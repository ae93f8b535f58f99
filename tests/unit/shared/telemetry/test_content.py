"""Prompts and outputs on spans: in debug mode, clean, and of a bounded size."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import Span, TracerProvider

from shared.models.chat import ChatMessage
from shared.telemetry import attributes
from shared.telemetry.content import MAX_EVENT_CHARS, MAX_MESSAGES, bounded, record_chat, record_hop, record_tool
from shared.telemetry.mode import Mode, process_mode


@pytest.fixture
def debug() -> Iterator[None]:
    process_mode.set(Mode.DEBUG)
    yield
    process_mode.set(Mode.SHIPPING)


def recorded(record: Any, *args: Any) -> dict[str, str]:
    span: Any = TracerProvider().get_tracer("test").start_span("x")
    record(span, *args)
    assert isinstance(span, Span)
    return {event.name: dict(event.attributes or {}) for event in span.events}  # type: ignore[misc]


def test_in_shipping_mode_nothing_is_said() -> None:
    assert recorded(record_chat, [ChatMessage("user", "hello")], "hi") == {}
    assert recorded(record_tool, {"a": 1}, "2") == {} == recorded(record_hop, "task", "result")


@pytest.mark.usefixtures("debug")
def test_a_chat_has_the_form_of_the_conventions() -> None:
    [values] = recorded(record_chat, [ChatMessage("user", "hello")], "hi").values()
    asked, said = (json.loads(values[name]) for name in (attributes.INPUT_MESSAGES, attributes.OUTPUT_MESSAGES))
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    assert said == [{"role": "assistant", "parts": [{"type": "text", "content": "hi"}]}]


@pytest.mark.usefixtures("debug")
def test_a_long_conversation_is_cut_and_stays_json() -> None:
    messages = [ChatMessage("system", "instruct"), *(ChatMessage("user", f"{n} " + "x" * 90_000) for n in range(100))]
    [values] = recorded(record_chat, messages, "y" * 90_000).values()
    asked = json.loads(values[attributes.INPUT_MESSAGES])
    assert len(asked) == MAX_MESSAGES
    assert asked[0]["parts"][0]["content"] == "instruct" and asked[-1]["parts"][0]["content"].startswith("99 x")
    assert len(values[attributes.INPUT_MESSAGES]) < 1.25 * MAX_EVENT_CHARS


@pytest.mark.usefixtures("debug")
def test_arguments_and_results_are_clean() -> None:
    [values] = recorded(record_tool, {"api_key": "k", "n": 1, "odd": {1, 2}}, "password=hunter2").values()
    assert json.loads(values[attributes.TOOL_ARGUMENTS]) == {"api_key": "[redacted]", "n": 1, "odd": "{1, 2}"}
    assert values[attributes.TOOL_RESULT] == "password=[redacted]"


def test_a_secret_on_the_edge_is_not_cut_in_two() -> None:
    text = "x" * 90 + " sk-abcdefghijklmnop " + "y" * 90
    assert "sk-" not in bounded(text, 100)
