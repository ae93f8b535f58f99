"""JSONL files of queries: read line by line, a bad line reported with its number while the rest goes on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.cli.output import err, print_failure
from shared.errors import InvalidInput


@dataclass(frozen=True)
class BatchRow:
    """One line of a batch."""

    number: int
    """From 1."""
    fields: dict[str, str]
    """The wanted fields; each is there and is not empty."""


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be used."""

    number: int
    message: str


class Batch:
    """A batch file. `has_failures` is True once a line was bad or failed."""

    def __init__(self, path: Path, wanted: tuple[str, ...]) -> None:
        self._path = path
        self._lines = _lines(path, wanted)
        self.has_failures = False

    def __iter__(self) -> Iterator[BatchRow]:
        """The good lines in order, with a progress bar on standard error."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = err()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            for line in progress.track(self._lines, description=self._path.name):
                if isinstance(line, BatchRow):
                    yield line
                else:
                    self.report(line.number, line.message)

    def report(self, number: int, message: str) -> None:
        """Say on standard error what is wrong with a line."""
        self.has_failures = True
        print_failure(f"{self._path}, line {number}: {message}")


def _lines(path: Path, wanted: tuple[str, ...]) -> list[BatchRow | BadLine]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"The batch file {path} cannot be read: {error.strerror}.", field="batch") from None
    numbered = enumerate(content.splitlines(), start=1)
    return [_parsed(number, line, wanted) for number, line in numbered if line.strip()]


def _parsed(number: int, line: bytes, wanted: tuple[str, ...]) -> BatchRow | BadLine:
    try:
        row = json.loads(line)
    except ValueError as error:
        return BadLine(number, f"this is not JSON ({error}).")
    if not isinstance(row, dict):
        return BadLine(number, "this is not a JSON object.")
    for name in wanted:
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            return BadLine(number, f"the field `{name}` must be a text that is not empty.")
    return BatchRow(number, {name: row[name] for name in wanted})
