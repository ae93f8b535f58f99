"""Turns a text into a vector of its surface: words, word pairs, word pieces, first words, length, digits.

Sentence vectors say what a text is about and little about how it is put. That "Write a function to" and "Calculate"
open requests for different services, whatever they are about, is what these features add.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 1024
MAX_CHARACTERS = 2_000
"""A longer text shows its style and its subject within these."""

_PIECE = 4
_URL = re.compile(r"https?://\S+")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_TOKEN = re.compile(r"[^\W\d]+(?:'[^\W\d]+)*|0|[^\w\s]")


def surfaces(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return one vector of length 1 per text (of length 0 for a blank one): float32, shape (len(texts), 1024)."""
    rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for feature, count in Counter(_features(text[:MAX_CHARACTERS])).items():
            code = zlib.crc32(feature.encode(errors="replace"))
            # The top bit gives the sign, so that features which share a place do not add up.
            row[code % DIMENSIONS] += (1 + math.log(count)) * (1 if code >> 31 else -1)
        length = float(np.linalg.norm(row))
        if length > 0:
            row /= length
    return rows


def words(text: str) -> list[str]:
    """Split a text into lower-case words and signs; every number becomes "0" and every address "url"."""
    lowered = _URL.sub(" url ", text.lower())
    return _TOKEN.findall(_NUMBER.sub(" 0 ", lowered))


def _features(text: str) -> Iterator[str]:
    tokens = words(text)
    if not tokens:
        return
    for token in tokens:
        yield f"word {token}"
        if len(token) >= _PIECE and token.isalpha():
            yield from _pieces(token)
    for left, right in zip(["^", *tokens], [*tokens, "$"], strict=True):
        yield f"pair {left} {right}"
    # What counts double is yielded twice: a text has one beginning and one length, but many words.
    for _ in range(2):
        yield f"first {tokens[0]}"
        yield "second " + " ".join(tokens[:2])
        yield f"length {min(6, int(1.5 * math.log2(len(tokens) + 1)))}"
        yield f"numbers {min(3, tokens.count('0'))}"
    yield "third " + " ".join(tokens[:3])
    yield f"question {text.rstrip().endswith('?')}"


def _pieces(token: str) -> Iterator[str]:
    bounded = f"<{token}>"
    for start in range(len(bounded) - _PIECE + 1):
        yield f"piece {bounded[start : start + _PIECE]}"
