"""What a router says of a query: candidates with calibrated confidence and reasons, or an abstention."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

RouterKind = Literal["embedding", "generative", "heuristic"]


class Candidate(BaseModel):
    """One service that could do it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(min_length=1)
    confidence: float = Field(ge=0, le=1)
    """Probability that this is the right service."""
    matched_tags: tuple[str, ...] = ()
    """Those of the service's tags that fit the query."""
    nearest_examples: tuple[str, ...] = ()
    """The service's examples most like the query, nearest first."""


class Recommendation(BaseModel):
    """The router's word on one query; it informs, the arbitrator decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: str | None
    """The recommended service, or None: chit-chat, out of scope, or nobody there."""
    confidence: float = Field(ge=0, le=1)
    """Probability that `top` is right, also when it is None."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    router: RouterKind
    """What scored."""
    latency_ms: float = Field(ge=0)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        confidences = [candidate.confidence for candidate in self.candidates]
        if confidences != sorted(confidences, reverse=True):
            raise ValueError("candidates must come best first")
        if self.top is not None and (not self.candidates or self.candidates[0].service != self.top):
            raise ValueError("top must be the first candidate")
        return self
