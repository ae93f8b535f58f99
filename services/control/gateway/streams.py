"""What both event streams share: cursors that readers come with, and server-sent events that go out."""

from collections.abc import AsyncIterator

from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from shared.errors import InvalidInput

KEEP_ALIVE_S = 15
SEND_TIMEOUT_S = 30.0
"""A reader that takes nothing for so long is let go; it comes back with its cursor."""


def read_cursor(last_event_id: str | None, after: str | None) -> int | None:
    """The cursor that a reader came with, its own header going before the query; None when it has none.

    Raises `InvalidInput` when it is not a number.
    """
    text = last_event_id or after
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(
            "The cursor must be the id of an event.",
            remedy="Leave it out to begin anew.",
            field="Last-Event-ID",
        )
    return int(text)


def event_stream(events: AsyncIterator[ServerSentEvent]) -> EventSourceResponse:
    """The response for a stream; comments keep the line open."""
    # sse-starlette's own default is `no-store`, which a compressing proxy does not take for "do not buffer"
    headers = {"Cache-Control": "no-cache, no-transform"}
    return EventSourceResponse(events, headers=headers, ping=KEEP_ALIVE_S, send_timeout=SEND_TIMEOUT_S)


def sse(name: str, data: BaseModel, cursor: int | None = None) -> ServerSentEvent:
    """An event on the wire; without a cursor the reader keeps the one it has."""
    return ServerSentEvent(data.model_dump_json(), event=name, id=None if cursor is None else str(cursor))
