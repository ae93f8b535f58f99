"""From what a request's body says to the contract's own types."""

from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> Duration:
    """So many seconds."""
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made


def timestamp(moment: datetime) -> Timestamp:
    """A moment that names its zone."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def json_value(value: Any) -> Value:
    """Any JSON."""
    return ParseDict(value, Value())


def json_object(value: dict[str, Any]) -> Struct:
    """A JSON object."""
    return ParseDict(value, Struct())
