"""Plain text and source code: paragraphs between blank lines; in code, what starts at the left margin."""

import re
from collections.abc import Iterator

from services.rag.document import Segment

_DEFINITION = re.compile(
    r"^(?:export |default |public |private |static |async |pub |abstract |final )*"
    r"(?:def|class|function|func|fn|struct|enum|interface|trait|impl|type|module|namespace|CREATE TABLE)\b.*"
)
_MAX_HEADING = 120


def parse_text(text: str) -> tuple[Segment, ...]:
    """Paragraphs of plain text."""
    return tuple(Segment("\n".join(lines), start, start + len(lines) - 1) for start, lines in paragraphs(text))


def parse_code(text: str) -> tuple[Segment, ...]:
    """Paragraphs of source code; each knows the last definition at the left margin as its heading."""
    segments: list[Segment] = []
    heading = ""
    for start, lines in paragraphs(text):
        definition = next((line for line in lines if _DEFINITION.match(line)), "")
        heading = definition.rstrip(" {:").strip()[:_MAX_HEADING] or heading
        segments.append(
            Segment("\n".join(lines), start, start + len(lines) - 1, heading=heading, starts_section=bool(definition))
        )
    return tuple(segments)


def paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines that are not blank, each with the number of its first line, from 1."""
    held: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            held.append(line.rstrip())
        elif held:
            yield number - len(held), held
            held = []
    if held:
        yield text.count("\n") + 2 - len(held), held
