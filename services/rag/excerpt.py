"""Cuts from a passage the lines around what fits the question: short enough for a prompt, exact enough to cite."""

import re
from dataclasses import dataclass

from services.rag.document import Chunk
from services.rag.query_words import content_stems

MAX_WORDS = 120
QUOTE_WORDS = 40

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


@dataclass(frozen=True)
class Excerpt:
    """A part of a passage."""

    text: str
    start_line: int
    """From 1; 0 when the document has no lines."""
    end_line: int


def excerpt(chunk: Chunk, question: str, max_words: int = MAX_WORDS) -> Excerpt:
    """The sentences that share most with the question, with their neighbours, in at most about `max_words` words."""
    sentences = _sentences(chunk.text)
    wanted = content_stems(question)
    scores = [len(wanted & content_stems(chunk.text[start:end])) for start, end in sentences]
    first = last = max(range(len(sentences)), key=lambda index: (scores[index], -index))
    words = _count(chunk.text, *sentences[first])
    while first > 0 or last < len(sentences) - 1:
        before = scores[first - 1] if first > 0 else -1
        after = scores[last + 1] if last < len(sentences) - 1 else -1
        is_before = before > after
        added = _count(chunk.text, *sentences[first - 1 if is_before else last + 1])
        if words + added > max_words:
            break
        words += added
        first, last = (first - 1, last) if is_before else (first, last + 1)
    return _cut(chunk, sentences[first][0], sentences[last][1], max_words)


def _cut(chunk: Chunk, start: int, end: int, max_words: int) -> Excerpt:
    text = chunk.text[start:end]
    words = list(re.finditer(r"\S+", text))
    if len(words) > max_words:
        text = text[: words[max_words - 1].end()]
    if not chunk.start_line:
        return Excerpt(text.strip(), 0, 0)
    if chunk.text.count("\n") != chunk.end_line - chunk.start_line:  # the parser joined lines: only the whole is known
        return Excerpt(text.strip(), chunk.start_line, chunk.end_line)
    first_line = chunk.start_line + chunk.text.count("\n", 0, start)
    return Excerpt(text.strip(), first_line, first_line + text.rstrip().count("\n"))


def _sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence starts and ends."""
    spans, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if text[start : match.start()].strip():
            spans.append((start, match.start()))
            start = match.end()
    return [*spans, (start, len(text))] if text[start:].strip() or not spans else spans


def _count(text: str, start: int, end: int) -> int:
    return len(text[start:end].split())
