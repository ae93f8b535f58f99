"""Packs a document's segments into passages that fit the embedding model, on boundaries where there are any."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from services.rag.document import Chunk, Segment

MAX_CHARACTERS = 1_100
"""About 180 English words: nearly all that the embedding model reads (256 word pieces)."""
MIN_CHARACTERS = 350
"""A passage that is shorter is not ended by a new section."""
OVERLAP_CHARACTERS = 200
"""At most so much of a passage's end is repeated at the start of the next one."""
PIECE_CHARACTERS = 300
"""Longer lines are cut, between sentences where possible."""
WHOLE_CHARACTERS = 2_400
"""A document of at most so much, without sections or pages, is one passage."""

_WIDE_FROM = "\u2e80"
"""From here on (Chinese, Japanese, Korean) a character is about a word piece of its own."""
_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")


def chunk_segments(segments: Sequence[Segment]) -> tuple[Chunk, ...]:
    """The passages of a document, in its order."""
    segments = [segment for segment in segments if segment.text.strip()]
    is_plain = len({(segment.heading, segment.page) for segment in segments}) <= 1
    if is_plain and sum(_size(segment.text) for segment in segments) <= WHOLE_CHARACTERS:
        return (_joined(segments),) if segments else ()
    return tuple(_pack(piece for segment in segments for piece in _pieces(segment)))


def _pack(pieces: Iterable[Segment]) -> Iterator[Chunk]:
    held: list[Segment] = []
    fresh, size = 0, 0
    for piece in pieces:
        is_full = size + _size(piece.text) > MAX_CHARACTERS
        is_elsewhere = bool(held) and piece.page != held[-1].page
        is_section = piece.starts_section and size >= MIN_CHARACTERS
        if fresh and (is_full or is_elsewhere or is_section):
            yield _joined(held)
            held = _overlap(held) if is_full and not is_elsewhere and not piece.starts_section else []
            fresh, size = 0, sum(_size(part.text) for part in held)
        held.append(piece)
        fresh, size = fresh + 1, size + _size(piece.text)
    if fresh:
        yield _joined(held)


def _overlap(held: list[Segment]) -> list[Segment]:
    kept: list[Segment] = []
    size = 0
    for piece in reversed(held):
        size += _size(piece.text)
        if size > OVERLAP_CHARACTERS or piece.heading != held[-1].heading:
            break
        kept.insert(0, piece)
    return kept


def _joined(pieces: Sequence[Segment]) -> Chunk:
    texts = [pieces[0].text]
    for before, piece in pairwise(pieces):
        is_same_line = piece.start_line == before.end_line and piece.start_line > 0
        texts += [" " if is_same_line else "\n" * min(2, max(1, piece.start_line - before.end_line)), piece.text]
    first, last = pieces[0], pieces[-1]
    return Chunk("".join(texts).strip("\n"), first.start_line, last.end_line, first.page, first.heading)


def _pieces(segment: Segment) -> Iterator[Segment]:
    """The segment itself when it is short, else its lines, and of long lines their sentences."""
    if _size(segment.text) <= PIECE_CHARACTERS:
        yield segment
        return
    starts_section = segment.starts_section
    lines = segment.text.split("\n")
    # The parser may have joined lines (a PDF's, a tag's); then all that is known is where the whole is.
    is_line_by_line = segment.start_line > 0 and len(lines) == segment.end_line - segment.start_line + 1
    for number, line in enumerate(lines, segment.start_line):
        place = replace(segment, start_line=number, end_line=number) if is_line_by_line else segment
        for text in _cut(line):
            yield replace(place, text=text, starts_section=starts_section)
            starts_section = False


def _cut(line: str) -> Iterator[str]:
    if _size(line) <= PIECE_CHARACTERS:
        yield line
        return
    held = ""
    for sentence in _SENTENCE_END.split(line):
        for part in _cut_words(sentence):
            if held and _size(held) + _size(part) > PIECE_CHARACTERS:
                yield held
                held = ""
            held = f"{held} {part}" if held else part
    if held:
        yield held


def _cut_words(sentence: str) -> Iterator[str]:
    while _size(sentence) > PIECE_CHARACTERS:
        end = PIECE_CHARACTERS if sentence.isascii() else max(1, PIECE_CHARACTERS * len(sentence) // _size(sentence))
        space = sentence.rfind(" ", end // 2, end)
        end = space if space > 0 else end
        yield sentence[:end].rstrip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text) + 3 * sum(character >= _WIDE_FROM for character in text)
