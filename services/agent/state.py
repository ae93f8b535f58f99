"""The state of a run: plain JSON values, versioned, small."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NotRequired, TypeVar

# pydantic reads these types when a person edits a state, and on Python 3.11 only in this form
from typing_extensions import TypedDict

from shared.capability.service import Effort

STATE_VERSION = 2

_Value = TypeVar("_Value")


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
    source: Literal["model", "policy", "fallback", "guardian"]
    is_override: bool
    role: str
    """The role that the capability is to act in; "" with any other action."""
    task: str
    """What it is to do."""


class Hop(TypedDict):
    """What one hop came to; `error` is "" when it succeeded."""

    index: int
    """From 0; hops that run at once have different ones."""
    step: str
    """The step of the workflow that made it."""
    role: str
    """What the capability acted as: the step's role, or its own name."""
    capability: str
    text: str
    outcome: str
    error: str
    """The reason, such as `PEER_UNAVAILABLE`."""
    message: str
    artifacts: list[dict[str, object]]
    citations: list[dict[str, object]]
    mail_position: int
    """Up to which of the run's messages its role has been given its own."""


class Doubt(TypedDict):
    """A call that somebody must decide about: it may have had its effect, or wants to call a guarded tool."""

    index: int
    step: str
    role: str
    capability: str
    key: str
    """The idempotency key to repeat it under."""
    message: str
    approved: NotRequired[list[str]]
    """Digests of the tool calls that somebody has approved."""
    wanted: NotRequired[str]
    """The digest of the tool call that waits for its approval; there is none when an effect is in doubt."""


class Turn(TypedDict):
    """A question of the thread and its answer, as the thread remembers them (`services/agent/threads`)."""

    run_id: NotRequired[str]
    query: str
    answer: str
    treatment: NotRequired[Literal["kept", "summarized"]]
    summary: NotRequired[str]
    """What stands for a turn that is summarized; its query and answer are empty then."""


def add_hops(hops: list[Hop], more: list[Hop]) -> list[Hop]:
    """The reducer of `hops`: each step adds its own, in the order of their indexes; an empty list begins anew."""
    return sorted([*hops, *more], key=lambda hop: hop["index"]) if more else []


def merge(known: dict[str, _Value], changes: Mapping[str, _Value | None]) -> dict[str, _Value]:
    """A reducer for what steps that run at once keep by name: None takes an entry out, an empty one begins anew."""
    merged = {**known, **changes} if changes else {}
    return {name: value for name, value in merged.items() if value is not None}


class RunState(TypedDict, total=False):
    """All that a run knows. A new run on a thread resets everything but `conversation`."""

    version: int
    query: str
    effort: Effort
    recommendation: Recommendation
    decision: Decision
    hops: Annotated[list[Hop], add_hops]
    doubts: Annotated[dict[str, Doubt | None], merge]
    """By step."""
    max_hops: int
    max_cycles: int
    current_cycle: int
    """From 0: how often the bounded loop has begun."""
    has_unresolved_review: bool
    has_asked: bool
    """Whether the user was asked what is meant: once is enough."""
    chosen_hop: int
    """The hop whose result a judge chose for the answer; -1 for none."""
    guardian_entry: int
    """The newest entry of the guardian's log that the state has."""
    forced_capability: str
    """What the next decision must name; "" when it is free."""
    vetoed_capabilities: list[str]
    """What the next decision must not name."""
    skipped_steps: dict[str, int]
    """Calls to leave out once, by step: how many hops there were when that was ordered."""
    answer: str
    conversation: list[Turn]


@dataclass(frozen=True)
class RunContext:
    """Plain ids of the run, given to every node; an engine may serialize it."""

    run_id: str
    thread_id: str
    correlation_id: str
    tenant: str = "default"
    open_hops: Mapping[int, str] = field(default_factory=dict)
    """Idempotency keys of the hops that an earlier attempt of the run began and did not end, by index."""
    open_addresses: Mapping[int, str] = field(default_factory=dict)
    """Where the calls of these hops went."""
    asked_entries: Mapping[str, int] = field(default_factory=dict)
    """The newest guardian's entry that those had who asked and are done again with an answer, by LangGraph's task."""
    asked_entry: int | None = None
    """The step's own of these."""


def initial_state(query: str, effort: Effort, max_hops: int, max_cycles: int = 0) -> RunState:
    """The input of a new run."""
    return RunState(
        version=STATE_VERSION,
        query=query,
        effort=effort,
        hops=[],
        doubts={},
        max_hops=max_hops,
        max_cycles=max_cycles,
        current_cycle=0,
        has_unresolved_review=False,
        has_asked=False,
        chosen_hop=-1,
        forced_capability="",
        vetoed_capabilities=[],
        skipped_steps={},
        answer="",
    )


def remaining_hops(state: RunState) -> int:
    """How many calls the run may still make."""
    return max(0, state["max_hops"] - used_hops(state))  # a budget that is cut stops no call that was decided on


def used_hops(state: RunState) -> int:
    """How many calls the run has made; one in doubt has been made."""
    return len(state["hops"]) + len(state.get("doubts", {}))


def has_answered(hop: Hop) -> bool:
    """Whether the hop brought something to answer with."""
    return not hop["error"] and bool(hop["text"])
