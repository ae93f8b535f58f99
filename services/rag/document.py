"""A document as the index knows it: its text in passages, each with the place it came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A piece of a document that belongs together: a paragraph, a list, a function."""

    text: str
    start_line: int = 0
    """From 1; 0 when the document has no lines."""
    end_line: int = 0
    page: int = 0
    """From 1; 0 when the document has no pages."""
    heading: str = ""
    """The heading it stands under."""
    starts_section: bool = False
    """Whether a new passage may well start here."""


@dataclass(frozen=True)
class Chunk:
    """A passage: what is indexed, found and cited."""

    text: str
    start_line: int = 0
    end_line: int = 0
    page: int = 0
    heading: str = ""


@dataclass(frozen=True)
class ParsedDocument:
    """What a parser made of one document."""

    key: str
    """The `_id` of a JSONL row; empty means that the source itself is the document."""
    title: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class ParsedSource:
    """What a parser made of one source: one document, or as many as a JSONL file has rows."""

    media_type: str
    documents: tuple[ParsedDocument, ...]
    problems: tuple[str, ...] = ()
    """What could not be read of it, a sentence each."""
