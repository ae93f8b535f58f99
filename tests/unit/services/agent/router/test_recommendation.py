"""A recommendation that contradicts itself cannot be made."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.agent.router.recommendation import Candidate, Recommendation

GOOD: dict[str, Any] = {
    "top": "rag",
    "confidence": 0.7,
    "candidates": (Candidate(service="rag", confidence=0.7), Candidate(service="tools", confidence=0.2)),
    "router": "embedding",
    "latency_ms": 4.2,
}


def test_it_survives_json() -> None:
    recommendation = Recommendation(**GOOD)
    assert Recommendation.model_validate_json(recommendation.model_dump_json()) == recommendation


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": 1.2},
        {"confidence": float("nan")},
        {"top": "tools"},
        {"top": "nobody"},
        {"candidates": GOOD["candidates"][::-1]},
        {"candidates": ()},
        {"router": "oracle"},
        {"latency_ms": -1},
        {"mood": "good"},
    ],
)
def test_nonsense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Recommendation(**GOOD | change)


def test_abstention_may_have_candidates() -> None:
    assert Recommendation(**GOOD | {"top": None}).candidates
