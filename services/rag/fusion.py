"""Makes one ranking of two: by words (BM25) and by meaning (cosine)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.rag.index import Scored

DENSE_WEIGHT = 0.5
RANK_WEIGHT = 0.3
"""The share of the reciprocal ranks in the fused score; the rest is the combination of the scores themselves."""
RANK_CONSTANT = 60


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


def fuse(lexical: Sequence[Scored], dense: Sequence[Scored], similarities: Mapping[int, float]) -> list[Fused]:
    """One ranking of both lists, best first.

    `similarities` holds the cosines of all candidates, so that one that is only in the lexical list has a dense score.
    """
    lexical_ranks = _ranks(lexical)
    dense_ranks = _ranks(dense)
    lexical_scores = _scaled(dict(lexical), floor=0.0)
    dense_scores = _scaled(similarities)
    fused = []
    for chunk_id in {**lexical_ranks, **dense_ranks}:
        ranks = (lexical_ranks.get(chunk_id, 0), dense_ranks.get(chunk_id, 0))
        by_score = (1 - DENSE_WEIGHT) * lexical_scores.get(chunk_id, 0.0) + DENSE_WEIGHT * dense_scores[chunk_id]
        by_rank = sum((RANK_CONSTANT + 1) / (RANK_CONSTANT + rank) for rank in ranks if rank) / 2
        score = (1 - RANK_WEIGHT) * by_score + RANK_WEIGHT * by_rank
        fused.append(Fused(chunk_id, score, *ranks, similarities[chunk_id]))
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def _ranks(scored: Sequence[Scored]) -> dict[int, int]:
    return {chunk_id: rank for rank, (chunk_id, _) in enumerate(scored, 1)}


def _scaled(scores: Mapping[int, float], floor: float | None = None) -> dict[int, float]:
    """The scores brought to 0 (the lowest, or `floor`) to 1 (the highest)."""
    if not scores:
        return {}
    lowest = min(scores.values()) if floor is None else floor
    span = max(scores.values()) - lowest
    return {key: (score - lowest) / span if span > 0 else 1.0 for key, score in scores.items()}
