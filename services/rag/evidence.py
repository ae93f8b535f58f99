"""Tells whether passages look like they answer a question, before a model is asked.

The thresholds were chosen on the labelled set in `bench/data`, so that none of its unanswerable questions passes.
"""

from dataclasses import dataclass

from services.rag.query_words import content_stems

CERTAIN_SIMILARITY = 0.38
"""From this cosine on, meaning alone is evidence."""
LEAST_SIMILARITY = 0.25
"""Below it, shared words are chance."""
LEAST_COVERAGE, FULL_COVERAGE = 0.3, 0.6
"""In between, this share of the question's content words must be in the passage: the more, the lower the cosine."""


@dataclass(frozen=True)
class Signal:
    """How well one passage fits a question."""

    similarity: float
    """Cosine of the two."""
    coverage: float
    """Share of the question's content words that the passage has."""

    @property
    def is_evidence(self) -> bool:
        """Whether the passage may hold the answer."""
        if self.similarity >= CERTAIN_SIMILARITY:
            return True
        gap = (CERTAIN_SIMILARITY - self.similarity) / (CERTAIN_SIMILARITY - LEAST_SIMILARITY)
        return gap <= 1 and self.coverage >= max(LEAST_COVERAGE, FULL_COVERAGE * gap)

    @property
    def is_covered(self) -> bool:
        """Whether the words alone are evidence."""
        return self.coverage >= FULL_COVERAGE


def signal(question: str, passage: str, similarity: float) -> Signal:
    """Compare a question with a passage (its title included)."""
    wanted = content_stems(question)
    coverage = len(wanted & content_stems(passage)) / len(wanted) if wanted else 0.0
    return Signal(similarity, coverage)
