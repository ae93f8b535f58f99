"""What all views share: every field is always there, and messages of the contract become plain values in one way."""

import base64
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, ConfigDict

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
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    return {plain_name(field): _value(message, field) for field in fields}


def plain_name(field: FieldDescriptor) -> str:
    """The name of a field in a view."""
    kind = field.message_type
    return f"{field.name}_ms" if kind and kind.full_name == Duration.DESCRIPTOR.full_name else field.name


def enum_names(enum: EnumDescriptor) -> list[str]:
    """The short names of an enum's values, in their order."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    names = [value.name.removeprefix(prefix) for value in enum.values]
    return names if enum.full_name == ERROR_REASON else [name.lower() for name in names]


def _value(message: Message, field: FieldDescriptor) -> Any:
    kind, value = field.message_type, getattr(message, field.name)
    if kind and kind.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(field, item) for item in value]
    if kind and kind.full_name in _NONE_WHEN_ABSENT and not message.HasField(field.name):
        return None
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type:
        names = enum_names(field.enum_type)
        known = field.enum_type.values_by_number.get(value)
        # a value of a newer peer has no name here
        return names[known.index if known else 0]
    if isinstance(value, Message):
        return _message(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _finite(value)


def _message(value: Message) -> Any:
    match value:
        case Timestamp():
            return value.ToDatetime(UTC)
        case Duration():
            return value.seconds * 1e3 + value.nanos / 1e6
        case Struct():
            return {key: _json(item) for key, item in value.fields.items()}
        case Value():
            return _json(value)
        case _:
            return plain(value)


def _json(value: Value) -> Any:
    # protobuf's own mapping fails on a number that JSON has no word for
    match value.WhichOneof("kind"):
        case "struct_value":
            return {key: _json(item) for key, item in value.struct_value.fields.items()}
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


def utc(unix_s: float) -> datetime:
    """A moment on the wall clock."""
    return datetime.fromtimestamp(unix_s, UTC)
