"""Reads YAML and TOML into plain data, with the place of every value."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 65_536

Path = tuple[str | int, ...]
"""Keys and indexes from the top of a document to a value."""
Place = tuple[int, int]
"""Line and column, from 1."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a document, and where; line and column are 0 when it has no place."""

    message: str
    path: str = ""
    line: int = 0
    column: int = 0


class NotReadable(Exception):
    """The text is no document at all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Source:
    """A document as plain data, and where its parts are."""

    data: Any
    places: Mapping[Path, Place]

    def problem(self, message: str, path: Path) -> Problem:
        """The problem at the place of `path`, or of what is around it."""
        known = next((path[:length] for length in range(len(path), -1, -1) if path[:length] in self.places), None)
        line, column = self.places[known] if known is not None else (0, 0)
        return Problem(message, ".".join(str(part) for part in self._named(path)), line, column)

    def _named(self, path: Path) -> list[str | int]:
        """The path with names in place of the indexes of what has one."""
        names: list[str | int] = []
        value = self.data
        for part in path:
            value = _inside(value, part)
            name = value.get("name") if isinstance(part, int) and isinstance(value, dict) else None
            names.append(name if isinstance(name, str) and name else part)
        return names


def read(text: str, file_name: str) -> Source:
    """Read a document, as TOML when its name ends so, otherwise as YAML. Raises `NotReadable`."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise NotReadable(Problem(f"The document is larger than {MAX_BYTES} bytes."))
    try:
        return _read_toml(text) if file_name.endswith(".toml") else _read_yaml(text)
    except RecursionError:
        raise NotReadable(Problem("The document is nested too deeply.")) from None


def _inside(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _read_yaml(text: str) -> Source:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        places: dict[Path, Place] = {}
        return Source(_yaml_value(root, (), places, set()), places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise NotReadable(Problem(f"This is not YAML: {error.problem or error}.", "", *place)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise NotReadable(Problem(f"This is not YAML: {' '.join(str(error).split())}.")) from None


def _yaml_value(node: yaml.Node | None, path: Path, places: dict[Path, Place], seen: set[int]) -> Any:
    if node is None:
        return None
    if path in places:
        raise _at(node, "the same key twice")
    if id(node) in seen:  # what aliases multiply to has no bound
        raise _at(node, "an alias")
    seen.add(id(node))
    places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        values = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            values[key] = _yaml_value(value_node, (*path, key), places, seen)
            places[(*path, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        return values
    if isinstance(node, yaml.SequenceNode):
        return [_yaml_value(item, (*path, index), places, seen) for index, item in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def _at(node: yaml.Node, message: str) -> NotReadable:
    mark = node.start_mark
    return NotReadable(Problem(f"Not possible here: {message}.", "", mark.line + 1, mark.column + 1))


_TABLE = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def _read_toml(text: str) -> Source:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = (int(found[1]), int(found[2])) if found else (0, 0)
        message = re.sub(r" \(at .*\)", "", str(error))
        raise NotReadable(Problem(f"This is not TOML: {message}.", "", *place)) from None
    return Source(data, _toml_places(text))


def _toml_places(text: str) -> dict[Path, Place]:
    """Where tables and keys begin; the library does not say. What is inside a line has the line's place."""
    places: dict[Path, Place] = {(): (1, 1)}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        place = (number, len(line) - len(line.lstrip()) + 1)
        if header := _TABLE.match(line):
            table = ()
            for part in header[2].split("."):
                table = (*table, part)
                if table in counts and not (header[1] == "[[" and part == header[2].split(".")[-1]):
                    table = (*table, counts[table])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            places.setdefault(table, place)
        elif key := _KEY.match(line):
            places.setdefault((*table, key[1]), place)
    return places
