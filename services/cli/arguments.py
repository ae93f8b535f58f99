"""Words of the command line that have a form of their own: lengths of time, and fields with their values."""

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import typer
from google.protobuf.struct_pb2 import Struct, Value

MOST_DAYS = 36_500
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")


def duration(text: str) -> timedelta:
    """Read a number with a unit, such as `30d`. Raises `typer.BadParameter`."""
    match = _DURATION.fullmatch(text)
    number = float(match[1]) if match else math.inf
    if not match or timedelta(**{_UNITS[match[2]]: 1}).total_seconds() * number > MOST_DAYS * 86_400:
        raise typer.BadParameter(f"{text!r} is not a length of time such as 90s, 45m, 12h, 30d or 2w.")
    return timedelta(**{_UNITS[match[2]]: number})


def updates(assignments: Sequence[str]) -> Struct:
    """Read `FIELD=VALUE` words; a value that is JSON is taken as such, any other as text.

    Raises `typer.BadParameter`.
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{assignment!r} is not FIELD=VALUE.")
        if name in found:
            raise typer.BadParameter(f"{name} is set twice.")
        found[name] = _value(value)
    struct = Struct()
    struct.update(found)
    return struct


def json_or_text(text: str) -> Value:
    """Read an answer: a JSON object is taken as such, anything else as text."""
    value = Value(string_value=text)
    if text.lstrip().startswith("{"):
        with suppress(ValueError):
            value.struct_value.update(json.loads(text, parse_constant=_refuse))
    return value


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        raise typer.BadParameter(f"{text} is too large for a JSON number; put it in quotes.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)
