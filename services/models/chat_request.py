"""A chat completion request, checked: what is refused here never reaches a model."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput

ROLES = ("system", "developer", "user", "assistant", "tool")

SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "tools",
    "tool_choice",
)
"""Handed to llama.cpp as they are; it checks them."""


@dataclass(frozen=True)
class ChatRequest:
    """One request, in our own terms."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int
    is_stream: bool
    wants_usage: bool
    """Whether a stream ends with a chunk that tells the usage."""
    schema: Mapping[str, Any] | None
    """The JSON Schema the reply must match."""
    schema_name: str
    is_json: bool
    """Whether the reply must be JSON."""
    sampling: Mapping[str, Any]

    @property
    def last_user_text(self) -> str:
        """The text of the last message of the user; empty when there is none."""
        return next((text_of(message) for message in reversed(self.messages) if message["role"] == "user"), "")

    @property
    def full_text(self) -> str:
        """All messages as one text."""
        return "\n".join(text_of(message) for message in self.messages)


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content is a string, a list of parts, or nothing."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content or ""


def parse_request(body: bytes, *, default_tokens: int, max_tokens: int) -> ChatRequest:
    """Read a request body. Raises InvalidInput, which names the field."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The body is not JSON: {error}.", field="body") from None
    if not isinstance(document, dict):
        raise InvalidInput("The body is not a JSON object.", field="body")
    if document.get("n", 1) != 1:
        raise InvalidInput("Only one choice is given at a time: n must be 1.", field="n")
    if not isinstance(document.get("tools"), list | None):
        raise InvalidInput("tools must be a list.", field="tools")
    schema, schema_name, is_json = _response_format(document.get("response_format"))
    stream_options = document.get("stream_options") or {}
    return ChatRequest(
        model=str(document.get("model") or "default"),
        messages=_messages(document.get("messages")),
        max_tokens=_max_tokens(document, default_tokens, max_tokens),
        is_stream=document.get("stream") is True,
        wants_usage=isinstance(stream_options, dict) and stream_options.get("include_usage") is True,
        schema=schema,
        schema_name=schema_name,
        is_json=is_json,
        sampling={name: document[name] for name in SAMPLING_FIELDS if document.get(name) is not None},
    )


def _messages(value: object) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not value:
        raise InvalidInput("messages must be a list with at least one message.", field="messages")
    for number, message in enumerate(value):
        field = f"messages[{number}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise InvalidInput(f"{field} needs a role: one of {', '.join(ROLES)}.", field=field)
        if not isinstance(message.get("content"), str | list | None):
            raise InvalidInput(f"{field}.content must be a text.", field=field)
    return tuple(value)


def _max_tokens(document: Mapping[str, Any], default: int, limit: int) -> int:
    value = document.get("max_completion_tokens", document.get("max_tokens"))
    if value is None:
        return min(default, limit)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise InvalidInput(f"max_tokens must be a whole number from 1 to {limit}.", field="max_tokens", limit=limit)
    return value


def _response_format(value: object) -> tuple[Mapping[str, Any] | None, str, bool]:
    """The schema, its name, and whether JSON is wanted."""
    if value is None:
        return None, "", False
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("text", "json_object"):
        return None, "", kind == "json_object"
    if isinstance(value, dict) and kind == "json_schema" and isinstance(value.get("json_schema"), dict):
        wrapper = value["json_schema"]
        if isinstance(wrapper.get("schema"), dict):
            return wrapper["schema"], str(wrapper.get("name", "")), True
    raise InvalidInput(
        "response_format must have the type text, json_object, or json_schema with json_schema.schema.",
        field="response_format",
    )
