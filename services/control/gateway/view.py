"""What all views share: every field is always there, and messages of the contract become plain values in one way."""

import base64
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Self

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ConfigDict

Read = Callable[[Any], Any]
ERROR_REASON = "waystation.common.v1.ErrorReason"
_NONE_WHEN_ABSENT = frozenset(
    (
        Timestamp.DESCRIPTOR.full_name,
        Duration.DESCRIPTOR.full_name,
        Value.DESCRIPTOR.full_name,
        "waystation.agent.v1.RunError",
    )
)
"""Other messages that are absent are shown with their defaults."""


class View(BaseModel):
    """An answer, or a part of one. The document says of a field with a default, too, that it is there."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True, use_attribute_docstrings=True)


class RequestBody(BaseModel):
    """What a caller sends. A field that is not known is a mistake to be told of, not to be passed over."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ContractView(View):
    """A message of the contract as JSON, under the contract's field names.

    Enums are short lower-case names, times UTC, durations milliseconds in a field that ends in `_ms`, and 64-bit
    numbers are numbers. What the view has no field for is left out.
    """

    contract: ClassVar[type[Message]]
    """The message that this is a view of; a test holds the two together."""

    @classmethod
    def of(cls, message: Message) -> Self:
        """The view of a message."""
        return cls.model_validate(plain(message))


def plain(message: Message) -> dict[str, Any]:
    """A message as plain values, in the form that `ContractView` describes."""
    return {name: read(message) for name, read in _readers(message.DESCRIPTOR)}


def plain_name(field: FieldDescriptor) -> str:
    """The name of a field in a view."""
    kind = field.message_type
    return f"{field.name}_ms" if kind and kind.full_name == Duration.DESCRIPTOR.full_name else field.name


def enum_names(enum: EnumDescriptor) -> list[str]:
    """The short names of an enum's values, in their order."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    names = [value.name.removeprefix(prefix) for value in enum.values]
    return names if enum.full_name == ERROR_REASON else [name.lower() for name in names]


@cache
def _readers(descriptor: Any) -> Sequence[tuple[str, Read]]:
    """What a message of this kind has, and how each is read: looked up once, since lists have hundreds of messages."""
    return [(plain_name(field), _reader(field)) for field in descriptor.fields]


def _reader(field: FieldDescriptor) -> Read:
    name, kind, read = field.name, field.message_type, _converter(field)
    if kind and kind.GetOptions().map_entry:
        return lambda message: dict(getattr(message, name))
    if field.is_repeated:
        return lambda message: [read(item) for item in getattr(message, name)]
    if kind and kind.full_name in _NONE_WHEN_ABSENT:
        return lambda message: read(getattr(message, name)) if message.HasField(name) else None
    return lambda message: read(getattr(message, name))


def _converter(field: FieldDescriptor) -> Read:
    if enum := field.enum_type:
        names = dict(zip((value.number for value in enum.values), enum_names(enum), strict=True))
        # a value of a newer peer has no name here
        return lambda value: names.get(value, names[0])
    if kind := field.message_type:
        return _WELL_KNOWN.get(kind.full_name, plain)
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return lambda value: base64.b64encode(value).decode()
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            return _finite
        case _:
            return lambda value: value


def _duration_ms(value: Duration) -> float:
    return value.seconds * 1e3 + value.nanos / 1e6


def _struct(value: Struct) -> dict[str, Any]:
    return {key: _json(item) for key, item in value.fields.items()}


def _json(value: Value) -> Any:
    # protobuf's own mapping fails on a number that JSON has no word for
    match value.WhichOneof("kind"):
        case "struct_value":
            return _struct(value.struct_value)
        case "list_value":
            return [_json(item) for item in value.list_value.values]
        case "number_value":
            number = _finite(value.number_value)
            return int(number) if number is not None and number.is_integer() and abs(number) < 2**53 else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_WELL_KNOWN: dict[str, Read] = {
    Timestamp.DESCRIPTOR.full_name: lambda value: value.ToDatetime(UTC),
    Duration.DESCRIPTOR.full_name: _duration_ms,
    Struct.DESCRIPTOR.full_name: _struct,
    Value.DESCRIPTOR.full_name: _json,
}


def utc(unix_s: float) -> datetime:
    """A moment on the wall clock."""
    return datetime.fromtimestamp(unix_s, UTC)
