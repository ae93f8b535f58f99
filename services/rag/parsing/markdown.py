"""Markdown: sections under their headings, fenced code kept whole, front matter read for its title."""

import re

from services.rag.document import Segment

_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_TITLE = re.compile(r"^title:\s*[\"']?(.+?)[\"']?\s*$", re.IGNORECASE)


def parse_markdown(text: str) -> tuple[str, tuple[Segment, ...]]:
    """The title (empty when there is none) and the segments."""
    reader = _Reader()
    lines = text.split("\n")
    start = _front_matter_end(lines)
    reader.title = next((match[1] for line in lines[:start] if (match := _TITLE.match(line))), "")
    for number, line in enumerate(lines[start:], start + 1):
        reader.read(number, line)
    reader.flush()
    return reader.title, tuple(reader.segments)


def _front_matter_end(lines: list[str]) -> int:
    """How many lines the front matter has, its marks included."""
    if lines[0].strip() != "---":
        return 0
    return next((index + 1 for index, line in enumerate(lines[1:100], 1) if line.strip() == "---"), 0)


class _Reader:
    """Gathers lines into segments."""

    def __init__(self) -> None:
        self.title = ""
        self.segments: list[Segment] = []
        self._headings: list[tuple[int, str]] = []
        self._held: list[str] = []
        self._start = 0
        self._fence = ""
        self._is_section = False

    def read(self, number: int, line: str) -> None:
        """Take the next line."""
        fence = _FENCE.match(line)
        if self._fence:
            self._hold(number, line)
            if fence and fence[1].startswith(self._fence) and not line.strip().strip(self._fence[0]):
                self._fence = ""
        elif fence:
            self._fence = fence[1]
            self._hold(number, line)
        elif heading := _HEADING.match(line):
            self.flush()
            self._enter(len(heading[1]), heading[2])
            self._hold(number, line)
        elif line.strip():
            self._hold(number, line)
        elif not self._is_only_heading():
            self.flush()
        else:  # a heading stays with the paragraph after it
            self._hold(number, line)

    def flush(self) -> None:
        """End the segment that is being gathered."""
        while self._held and not self._held[-1]:
            self._held.pop()
        if self._held:
            end = self._start + len(self._held) - 1
            heading = " › ".join(text for _, text in self._headings)
            self.segments.append(
                Segment("\n".join(self._held), self._start, end, heading=heading, starts_section=self._is_section)
            )
        self._held, self._is_section = [], False

    def _hold(self, number: int, line: str) -> None:
        if not self._held:
            self._start = number
        self._held.append(line.rstrip())

    def _enter(self, level: int, text: str) -> None:
        self.title = self.title or text
        self._headings = [item for item in self._headings if item[0] < level] + [(level, text)]
        self._is_section = True

    def _is_only_heading(self) -> bool:
        return bool(self._held) and self._is_section and not any(line.strip() for line in self._held[1:])
