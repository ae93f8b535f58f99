"""The repository's own requests, written by its authors: what calibrating and measuring the router reads.

Nothing here is used to answer a query; the services send their examples themselves when they register.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.agent.router.calibration import DATA
from shared.capability import Descriptor
from shared.errors import InvalidInput

NONE = "none"
BENCH_FILE = DATA / "bench_queries.jsonl"
BUILTIN = ("coding", "rag", "tools")

_NONE_LABELS = frozenset({NONE, "chitchat", "out_of_scope", "oos"})
_SERVICES = Path(__file__).parents[2]


@dataclass(frozen=True)
class LabelledQuery:
    """A request and the service it is for."""

    query: str
    label: str
    """A service's name, or "none"."""
    source: str = ""


@dataclass(frozen=True)
class Newcomer:
    """A service as somebody else might bring it, with requests it should then get."""

    service: Descriptor
    queries: tuple[str, ...]


def builtin_services() -> tuple[Descriptor, ...]:
    """Return the built-in services with their examples only."""
    return tuple(
        Descriptor(name, "", (), tuple(text for group in example_groups(name) for text in group)) for name in BUILTIN
    )


def example_groups(label: str) -> tuple[tuple[str, ...], ...]:
    """Return a built-in service's examples (or those of "none") by group: each is one style or subject."""
    path = DATA / "none.txt" if label == NONE else _SERVICES / label / "examples.txt"
    paragraphs = path.read_text(encoding="utf-8").strip().split("\n\n")
    return tuple(tuple(paragraph.splitlines()) for paragraph in paragraphs)


def newcomers(path: Path = DATA / "newcomers.json") -> tuple[Newcomer, ...]:
    """Return invented services of other people's."""
    return tuple(_newcomer(item) for item in json.loads(path.read_text(encoding="utf-8")))


def labelled_queries(path: Path = BENCH_FILE, labels: tuple[str, ...] = BUILTIN) -> tuple[LabelledQuery, ...]:
    """Read a JSONL file with `query`, `label` and perhaps `source` a line.

    "chitchat", "oos", "out_of_scope" and "none" are one label. Raises InvalidInput that names the file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The labelled queries {path} cannot be read: {error}.") from None
    found = tuple(_numbered(path, lines, labels))
    if not found:
        raise InvalidInput(f"The file {path} has no labelled query.", remedy='A line is {"query": …, "label": …}.')
    return found


def _numbered(path: Path, lines: list[str], labels: tuple[str, ...]) -> Iterator[LabelledQuery]:
    known = ", ".join((*labels, *sorted(_NONE_LABELS)))
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            query, label, source = str(item["query"]), str(item["label"]), str(item.get("source", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"Line {number} of {path} is no labelled query.", remedy='A line is {"query": …, "label": …}.'
            ) from None
        if label not in labels and label not in _NONE_LABELS:
            raise InvalidInput(f"Line {number} of {path} has the label {label!r}.", remedy=f"Known labels: {known}.")
        yield LabelledQuery(query, NONE if label in _NONE_LABELS else label, source)


def _newcomer(item: Mapping[str, object]) -> Newcomer:
    def texts(key: str) -> tuple[str, ...]:
        value = item[key]
        return tuple(str(text) for text in value) if isinstance(value, list) else ()

    service = Descriptor(str(item["name"]), str(item["description"]), texts("tags"), texts("examples"))
    return Newcomer(service, texts("queries"))
