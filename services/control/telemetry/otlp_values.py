"""OTLP's attribute values as plain ones, bounded in every direction."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from services.control.telemetry.span import MAX_ITEMS, MAX_NAME_CHARS, MAX_TEXT_CHARS

MAX_DEPTH = 8


def plain_attributes(pairs: Iterable[KeyValue], depth: int = 0) -> dict[str, Any]:
    """The attributes by name; names and values too long are cut, those beyond 128 are left out."""
    found: dict[str, Any] = {}
    for pair in pairs:
        if len(found) == MAX_ITEMS:
            break
        found[pair.key[:MAX_NAME_CHARS]] = plain_value(pair.value, depth)
    return found


def plain_value(value: AnyValue, depth: int = 0) -> Any:
    """The value as JSON would have it: bytes in hex, what lies too deep as an ellipsis."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "string_value":
        return value.string_value[:MAX_TEXT_CHARS]
    if kind == "bytes_value":
        return value.bytes_value[: MAX_TEXT_CHARS // 2].hex()
    if depth == MAX_DEPTH and kind in ("array_value", "kvlist_value"):
        return "…"
    if kind == "array_value":
        return [plain_value(item, depth + 1) for item in value.array_value.values[:MAX_ITEMS]]
    if kind == "kvlist_value":
        return plain_attributes(value.kvlist_value.values, depth + 1)
    return getattr(value, kind)
