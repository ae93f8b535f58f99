"""A span as it is stored, and the checks that every way in shares."""

import re
from typing import Any, NamedTuple

import orjson

MAX_TEXT_CHARS = 16_384
"""Longer attribute values are cut."""
MAX_NAME_CHARS = 512
MAX_ITEMS = 128
"""Further attributes, events and links of one span are dropped, as OpenTelemetry's own limits do."""
MAX_BODY_BYTES = 1024 * 1024
MAX_TIME_NS = 2**63 - 1

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


class SpanRecord(NamedTuple):
    """A row of the table `spans`, in the order of its columns, so that it binds as it is."""

    trace_id: str
    """32 lower-case hex digits; `span_id` and `parent_span_id` have 16."""
    span_id: str
    parent_span_id: str
    """Empty for a root."""
    name: str
    service: str
    kind: str
    """"internal", "server", "client", "producer" or "consumer"."""
    start_ns: int
    """Since 1970, as is `end_ns`."""
    end_ns: int | None
    """None while the span runs."""
    state: str
    """"running", "ok", "error" or "lost"."""
    status_message: str
    run_id: str | None
    thread_id: str | None
    correlation_id: str | None
    instance_id: str
    body: bytes
    """JSON of attributes, events (name, time_ns, attributes) and links (trace_id, span_id, attributes)."""

    def contents(self) -> dict[str, Any]:
        """The decoded `body`."""
        return orjson.loads(self.body)  # type: ignore[no-any-return]


def is_trace_id(text: str) -> bool:
    """Whether the text is a W3C trace id: 32 lower-case hex digits, not all zero."""
    return bool(_TRACE_ID.fullmatch(text)) and text.strip("0") != ""


def is_span_id(text: str) -> bool:
    """Whether the text is a W3C span id: 16 lower-case hex digits, not all zero."""
    return bool(_SPAN_ID.fullmatch(text)) and text.strip("0") != ""


def promoted(attributes: dict[str, Any], name: str) -> str | None:
    """The attribute as the text of a column, or None when it is absent or empty."""
    value = attributes.get(name)
    return str(value)[:MAX_NAME_CHARS] or None if value is not None else None
