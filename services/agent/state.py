"""The state of a run: plain JSON values, versioned, small."""

from dataclasses import dataclass
from typing import Literal

# pydantic reads these types when a person edits a state, and on Python 3.11 only in this form
from typing_extensions import TypedDict

from shared.capability.service import Effort

STATE_VERSION = 1


class Candidate(TypedDict):
    """One service that the router names."""

    service: str
    confidence: float
    matched_tags: list[str]
    nearest_examples: list[str]


class Recommendation(TypedDict):
    """What the router says; `top` is "" when it abstains."""

    top: str
    confidence: float
    """That `top`, or abstaining, is right."""
    candidates: list[Candidate]
    router: str
    latency_ms: float


class Decision(TypedDict):
    """What the arbitrator decided; `capability` is "" unless the action is "call"."""

    action: Literal["call", "answer", "clarify"]
    capability: str
    reason: str
    question: str
    source: Literal["model", "policy", "fallback"]
    is_override: bool


class Hop(TypedDict):
    """What one hop came to; `error` is "" when it succeeded."""

    capability: str
    text: str
    outcome: str
    error: str
    """The reason, such as `PEER_UNAVAILABLE`."""
    message: str
    artifacts: list[dict[str, object]]
    citations: list[dict[str, object]]


class Doubt(TypedDict):
    """A call that may have had its effect, and nobody knows."""

    capability: str
    key: str
    """The idempotency key to repeat it under."""
    message: str


class Turn(TypedDict):
    """A question of the thread and its answer."""

    query: str
    answer: str


class RunState(TypedDict, total=False):
    """All that a run knows. A new run on a thread resets everything but `conversation`."""

    version: int
    query: str
    effort: Effort
    recommendation: Recommendation
    decision: Decision
    hops: list[Hop]
    doubt: Doubt | None
    remaining_hops: int
    answer: str
    conversation: list[Turn]


@dataclass(frozen=True)
class RunContext:
    """Plain ids of the run, given to every node; an engine may serialize it."""

    run_id: str
    thread_id: str
    correlation_id: str
    tenant: str = "default"
    open_hop_index: int = -1
    """The hop that an earlier attempt of the run began and did not end; -1 for none."""
    open_hop_key: str = ""
    """The idempotency key it was begun under."""


def initial_state(query: str, effort: Effort, max_hops: int) -> RunState:
    """The input of a new run."""
    return RunState(
        version=STATE_VERSION, query=query, effort=effort, hops=[], doubt=None, remaining_hops=max_hops, answer=""
    )


def has_answered(hop: Hop) -> bool:
    """Whether the hop brought something to answer with."""
    return not hop["error"] and bool(hop["text"])
