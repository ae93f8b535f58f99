"""Prompts and outputs as span events: in debug mode only, without secrets, and of a bounded size."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from opentelemetry import trace

from shared.telemetry import attributes
from shared.telemetry.mode import process_mode
from shared.telemetry.redaction import redactor

MAX_TEXT_CHARS = 4_000
"""Of one message, argument or result; what is longer is cut and says so."""
MAX_MESSAGES = 16
"""Of one conversation; the first, which instructs, and the last ones."""
MAX_EVENT_CHARS = 12_000
"""Of all messages of an event; the store cuts attributes that are a little longer."""


class Message(Protocol):
    """One turn of a conversation with a model."""

    @property
    def role(self) -> str:
        """Who speaks."""
        ...

    @property
    def content(self) -> str:
        """What is said."""
        ...


def is_wanted(span: trace.Span) -> bool:
    """Whether contents go on this span."""
    return process_mode.is_debug and span.is_recording()


def record_chat(span: trace.Span, messages: Sequence[Message], reply: str) -> None:
    """Put a model call's prompt and reply on its span, in the form of OpenTelemetry's GenAI conventions."""
    if is_wanted(span):
        kept = [*messages[:1], *messages[1:][-(MAX_MESSAGES - 1) :]]
        chars = min(MAX_TEXT_CHARS, MAX_EVENT_CHARS // max(1, len(kept)))
        asked = [_message(message.role, message.content, chars) for message in kept]
        _add(span, attributes.EVENT_CHAT, asked, [_message("assistant", reply)])


def record_hop(span: trace.Span, task: str, result: str) -> None:
    """Put a hop's task and result on its span."""
    if is_wanted(span):
        _add(span, attributes.EVENT_HOP, [_message("user", task)], [_message("assistant", result)])


def record_tool(span: trace.Span, arguments: Mapping[str, Any], result: str) -> None:
    """Put a tool's arguments and result on its span."""
    if is_wanted(span):
        text = json.dumps(redactor().attributes(arguments), ensure_ascii=False, default=str)
        values = {attributes.TOOL_ARGUMENTS: bounded(text), attributes.TOOL_RESULT: bounded(result)}
        span.add_event(attributes.EVENT_TOOL, values)


def bounded(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """The text without secrets, cut to a length. A secret on the edge is taken out before it is cut in two."""
    clean = redactor().text(text[: 4 * max_chars])
    return clean if len(text) <= max_chars else f"{clean[:max_chars]} [cut: {len(text):,} characters in all]"


def _message(role: str, content: str, max_chars: int = MAX_TEXT_CHARS) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": bounded(content, max_chars)}]}


def _add(span: trace.Span, name: str, asked: list[dict[str, Any]], answered: list[dict[str, Any]]) -> None:
    values = {
        attributes.INPUT_MESSAGES: json.dumps(asked, ensure_ascii=False),
        attributes.OUTPUT_MESSAGES: json.dumps(answered, ensure_ascii=False),
    }
    span.add_event(name, values)
