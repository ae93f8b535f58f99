"""What the command says: results on standard output, everything else on standard error, JSON when it was asked for."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

from shared.errors import WaystationError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def out() -> Console:
    """The console for results. Made anew each time, so that it writes to the `sys.stdout` of now."""
    return Console(highlight=False)


def err() -> Console:
    """The console for progress, notes and errors."""
    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print one JSON document: indented for a terminal, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_json_line(value: object) -> None:
    """Print one JSON document on one line, for streams of them."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def as_dict(message: Message) -> dict[str, Any]:
    """A message in protobuf's JSON mapping, with the field names of the contract and defaults filled in."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def error_row(error: WaystationError) -> dict[str, object]:
    """The error as JSON has it."""
    return {
        "reason": error.reason,
        "message": error.message,
        "remedy": error.remedy,
        "metadata": dict(error.metadata),
    }


def report(error: WaystationError, *, is_json: bool) -> None:
    """Say what went wrong: a red line and a dim remedy, or one JSON document."""
    if is_json:
        print_json({"error": error_row(error)})
        return
    print_failure(error.message, error.remedy)


def print_failure(message: str, remedy: str = "", facts: Mapping[str, str] | None = None) -> None:
    """A red line and a dim one on standard error."""
    console = err()
    console.print(Text(message, style="bold red"), soft_wrap=True)
    for line in (remedy, *(f"{name}: {value}" for name, value in (facts or {}).items())):
        if line:
            console.print(Text(line, style="dim"), soft_wrap=True)


def note(message: str) -> None:
    """A dim line on standard error."""
    err().print(Text(message, style="dim"), soft_wrap=True)
