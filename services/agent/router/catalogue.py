"""The services that can be recommended, as texts and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.agent.router.calibration import DATA, Calibration
from services.agent.router.classifier import Classifier, Rows
from services.agent.router.surface import words
from shared.capability import Descriptor
from shared.errors import InvalidInput

MAX_EXAMPLES = 1_000
MAX_EXAMPLE_CHARACTERS = 500
MAX_DESCRIPTION_CHARACTERS = 1_000
MAX_TAGS = 16
MAX_ROWS = 20_000
"""Examples of all services together; beyond that each one's first examples count, the same number for all."""

TAG_SIMILARITY = 0.35
"""From this cosine on a tag fits a query that does not name it."""


@dataclass(frozen=True)
class Entry:
    """One service, checked."""

    name: str
    tags: tuple[str, ...]
    texts: tuple[str, ...]
    """Its examples, then its description; never empty, nothing twice."""
    example_count: int

    @classmethod
    def of(cls, service: Descriptor) -> "Entry":
        """Check a descriptor; raises InvalidInput that names the service and the bound."""
        _check(service, "examples", len(service.examples), MAX_EXAMPLES)
        _check(
            service,
            "characters in an example",
            max(map(len, service.examples), default=0),
            MAX_EXAMPLE_CHARACTERS,
        )
        _check(service, "characters in the description", len(service.description), MAX_DESCRIPTION_CHARACTERS)
        _check(service, "tags", len(service.tags), MAX_TAGS)
        if not service.name.strip():
            raise InvalidInput("A service without a name cannot be routed to.", remedy="Give it a name.")
        examples = tuple(dict.fromkeys(text.strip() for text in service.examples if text.strip()))
        description = service.description.strip() or " ".join((service.name, *service.tags))
        texts = examples if description in examples else (*examples, description)
        return cls(service.name, service.tags, texts, len(examples))


@dataclass(frozen=True)
class Catalogue:
    """All entries and the classifier that was fitted to them; never changes."""

    entries: tuple[Entry, ...]
    classifier: Classifier
    """Its classes are the entries in order and, as the last one, none of them."""
    starts: tuple[int, ...]
    """The row where each entry's texts begin, and those of none."""
    tag_vectors: tuple[NDArray[np.float32], ...]
    """Per entry its tags' sentence vectors, shape (tags, 384) or (tags, 0)."""

    def surface_blocks(self) -> dict[tuple[str, ...], NDArray[np.float32]]:
        """Return the surfaces by the texts they are of, so that the next catalogue need not make them again."""
        blocks = {
            entry.texts: self.classifier.surfaces(start, start + len(entry.texts))
            for entry, start in zip(self.entries, self.starts, strict=False)
        }
        texts = none_examples()
        return blocks | {texts: self.classifier.surfaces(self.starts[-1], self.starts[-1] + len(texts))}

    def matched_tags(self, index: int, query: str, vector: NDArray[np.float32]) -> tuple[str, ...]:
        """Return those tags of an entry that the query names or is close to."""
        named = set(words(query))
        near = self.tag_vectors[index] @ vector >= TAG_SIMILARITY  # Never, when there are no vectors: 0 is less.
        pairs = zip(self.entries[index].tags, near, strict=True)
        return tuple(tag for tag, is_near in pairs if is_near or named.issuperset(words(spoken(tag))))

    def nearest_texts(self, index: int, similarities: NDArray[np.float32], count: int) -> tuple[str, ...]:
        """Return the entry's examples most like the query, or its description when it has no example."""
        entry, start = self.entries[index], self.starts[index]
        own = similarities[start : start + max(1, entry.example_count)]
        return tuple(entry.texts[row] for row in np.argsort(-own, kind="stable")[:count])


def check_services(services: Sequence[Descriptor]) -> tuple[tuple[Entry, ...], tuple[InvalidInput, ...]]:
    """Split services into entries in order of name and the errors of those that are bad or share a name."""
    entries: dict[str, Entry] = {}
    errors = []
    for service in services:
        try:
            entry = Entry.of(service)
            if service.name in entries:
                raise InvalidInput(f"There are two services called {service.name!r}.", remedy="Rename one.")
            entries[service.name] = entry
        except InvalidInput as error:
            errors.append(error)
    return _bounded(sorted(entries.values(), key=lambda entry: entry.name)), tuple(errors)


def build_catalogue(
    entries: tuple[Entry, ...], rows: Rows, tag_vectors: NDArray[np.float32], calibration: Calibration
) -> Catalogue:
    """Fit a catalogue; `rows` are the entries' texts in order, then those of none, `tag_vectors` all tags in order."""
    counts = [len(entry.texts) for entry in entries]
    counts.append(len(rows.vectors) - sum(counts))
    tag_ends = np.cumsum([len(entry.tags) for entry in entries])
    return Catalogue(
        entries=entries,
        classifier=Classifier(rows, np.array(counts), calibration),
        starts=tuple(int(end) for end in np.cumsum([0, *counts[:-1]])),
        tag_vectors=tuple(np.split(tag_vectors, tag_ends[:-1])) if entries else (),
    )


def spoken(tag: str) -> str:
    """Return a tag as one would say it."""
    return tag.replace("-", " ")


@cache
def none_examples() -> tuple[str, ...]:
    """Return the requests that are no service's business: small talk, feelings, questions about the assistant."""
    return read_examples(DATA / "none.txt")


def read_examples(path: Path) -> tuple[str, ...]:
    """Return the examples of a file: one a line, blank lines between groups."""
    return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _bounded(entries: list[Entry]) -> tuple[Entry, ...]:
    if sum(len(entry.texts) for entry in entries) <= MAX_ROWS:
        return tuple(entries)
    share = max(1, MAX_ROWS // len(entries))
    return tuple(
        Entry(entry.name, entry.tags, entry.texts[:share], min(entry.example_count, share)) for entry in entries
    )


def _check(service: Descriptor, what: str, found: int, bound: int) -> None:
    if found > bound:
        raise InvalidInput(
            f"Service {service.name!r} has {found:,} {what}; {bound:,} are the most.",
            remedy="Keep the most varied ones.",
            service=service.name,
        )
