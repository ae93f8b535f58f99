"""Makes one ranking of two: by words (BM25) and by meaning (cosine).

A weighted sum of scores, where BM25 is measured against what a passage with all the query's words would get. So a best
match by words that has only one of five words counts little, and a list of such matches cannot spoil the ranking by
meaning, as it does when only ranks are fused, or when the list's own best is the measure. The embedding model knows
English: the further query and collection are from it, the less the meaning counts. docs/rag.md has figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.rag.index import Scored, WordHits

DENSE_WEIGHT = 0.6
"""The share of the meaning where the text is English."""
FOREIGN_WEIGHT = 0.2
"""The same in other languages that are written in Latin letters."""
LEAST_WEIGHT = 0.003
"""The same in other scripts, of which the model knows no words: it orders what the words leave equal."""
FOREIGN_SHARE, ENGLISH_SHARE = 0.1, 0.3
"""Up to the first, and from the second share of English passages on, a collection is foreign, or English."""
_LATIN_END = "\u0250"


@dataclass(frozen=True)
class Fused:
    """A passage in the fused ranking."""

    chunk_id: int
    score: float
    lexical_rank: int = 0
    """From 1; 0 when it was not in that list."""
    dense_rank: int = 0
    similarity: float = 0.0
    """The cosine with the query; 0 when it was not asked for."""


def fuse(
    by_words: WordHits, by_meaning: Sequence[Scored], similarities: Mapping[int, float], weight: float = DENSE_WEIGHT
) -> list[Fused]:
    """One ranking of both lists, best first. `weight` (0 to 1) is the share of the meaning.

    `similarities` holds the cosines of all candidates; what is not in it is left out.
    """
    lexical_scores = dict(by_words.scored)
    lexical_ranks = {chunk_id: rank for rank, chunk_id in enumerate(lexical_scores, 1)}
    dense_ranks = {chunk_id: rank for rank, (chunk_id, _) in enumerate(by_meaning, 1)}
    dense_scores = _scaled(similarities)
    fused = [
        Fused(
            chunk_id,
            weight * dense_score + (1 - weight) * lexical_scores.get(chunk_id, 0.0) / (by_words.full_score or 1.0),
            lexical_ranks.get(chunk_id, 0),
            dense_ranks.get(chunk_id, 0),
            similarities[chunk_id],
        )
        for chunk_id, dense_score in dense_scores.items()
    ]
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def meaning_weight(query: str, english_share: float) -> float:
    """The share of the meaning for this query in a collection with this share of English passages."""
    place = (english_share - FOREIGN_SHARE) / (ENGLISH_SHARE - FOREIGN_SHARE)
    weight = FOREIGN_WEIGHT + (DENSE_WEIGHT - FOREIGN_WEIGHT) * min(1.0, max(0.0, place))
    letters = [character for character in query if character.isalpha()]
    latin_share = sum(letter < _LATIN_END for letter in letters) / len(letters) if letters else 1.0
    return max(LEAST_WEIGHT, weight * latin_share)


def _scaled(scores: Mapping[int, float]) -> dict[int, float]:
    """The scores brought to 0 (the lowest) to 1 (the highest)."""
    if not scores:
        return {}
    lowest = min(scores.values())
    span = max(scores.values()) - lowest
    return {key: (score - lowest) / span if span > 0 else 1.0 for key, score in scores.items()}
