"""What requests carry, and how large it may be: the types of path, query and body fields."""

import math
from typing import Annotated, Any

from fastapi import Header, Path, Query
from pydantic import AfterValidator, Field

MAX_ID_CHARS = 128
MAX_DEPTH = 32
"""Of JSON within a body; protobuf would refuse deeper ones with less to say."""

RunId = Annotated[str, Path(max_length=200)]
LastEventId = Annotated[str | None, Header(description="The id of the last event that the reader has")]
After = Annotated[str | None, Query(description="The same, for readers that cannot set the header")]
SpanPageSize = Annotated[int, Query(ge=0, le=10_000, description="0 means 1,000")]
PageSize = Annotated[int, Query(ge=0, le=500, description="0 means 50")]
PageToken = Annotated[str, Query(max_length=500, description="From the page before")]
Text = Annotated[str, Query(max_length=500)]

Id = Annotated[str, Field(max_length=MAX_ID_CHARS)]
RequestId = Annotated[
    str,
    Field(
        max_length=MAX_ID_CHARS,
        description="Chosen by the caller, one for each wish, so that the request can be sent again safely",
    ),
]


def _checked(value: Any) -> Any:
    _check(value, 0)
    return value


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"may be {MAX_DEPTH} levels deep")
    match value:
        case str():
            _check_text(value)
        case int() | float() if not _is_double(value):
            raise ValueError("has a number beyond what JSON readers can hold")
        case dict():
            for key, item in value.items():
                _check_text(key)
                _check(item, depth + 1)
        case list():
            for item in value:
                _check(item, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has half a character (a lone surrogate)") from None


def _is_double(number: float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


JsonValue = Annotated[Any, AfterValidator(_checked)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_checked)]
