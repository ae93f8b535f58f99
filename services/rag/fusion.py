"""Makes one ranking of two: by words (BM25) and by meaning (cosine).

A weighted sum of scores, where BM25 is measured against what a passage with all the query's words would get. So a best
match by words that has only one of five words counts little, and a list of such matches cannot spoil the ranking by
meaning, as it does when only ranks are fused, or when the list's own best is the measure. docs/rag.md has figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.rag.index import Scored, WordHits

DENSE_WEIGHT = 0.6


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


def _scaled(scores: Mapping[int, float]) -> dict[int, float]:
    """The scores brought to 0 (the lowest) to 1 (the highest)."""
    if not scores:
        return {}
    lowest = min(scores.values())
    span = max(scores.values()) - lowest
    return {key: (score - lowest) / span if span > 0 else 1.0 for key, score in scores.items()}
