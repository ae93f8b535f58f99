"""The shapes of runs and of what belongs to them: questions, checkpoints, decisions, artifacts, messages."""

from datetime import datetime
from typing import Any, Literal

from services.control.gateway.view import ContractView, View
from shared.pb import agent_v1, common_v1

RunState = Literal[
    "unspecified",
    "pending",
    "running",
    "input_required",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
    "lost",
]
RunSource = Literal["agent", "projection"]
Effort = Literal["unspecified", "low", "medium", "high"]


class RunErrorView(ContractView):
    """Why a run or a hop failed."""

    contract = agent_v1.RunError
    reason: str
    """A name out of `ErrorReason`."""
    message: str
    remedy: str
    metadata: dict[str, str]


class UsageView(ContractView):
    """What model calls cost."""

    contract = common_v1.Usage
    model: str
    """Empty when the sum covers several."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    calls: int
    time_to_first_token_ms: float | None
    duration_ms: float | None


class QuestionView(ContractView):
    """What a run asks a person."""

    contract = agent_v1.Question
    question_id: str
    text: str
    response_schema: dict[str, Any]
    """JSON Schema that the answer must fit."""
    create_time: datetime | None
    asked_by: str
    """What asks: `arbitrator`, `policy`, `guardian`, `in_doubt`."""


class CitationView(ContractView):
    """Where a statement comes from."""

    contract = common_v1.Citation
    number: int
    """The number used in the text, from 1."""
    source: str
    title: str
    start_line: int
    """From 1; 0 when the document has no lines."""
    end_line: int
    page: int
    """From 1, for paged documents; otherwise 0."""
    quote: str
    """The passage."""
    chunk_id: str
    score: float | None


class RunView(ContractView):
    """One pass of a workflow over a thread."""

    contract = agent_v1.Run
    source: RunSource = "agent"
    """Who says so: the agent itself, or what it reported last, which is here while it is dead."""
    run_id: str
    thread_id: str
    workflow: str
    query: str
    state: RunState
    answer: str
    error: RunErrorView | None
    effort: Effort
    tenant: str
    request_id: str
    correlation_id: str
    trace_id: str
    span_id: str
    """The span of this epoch."""
    create_time: datetime | None
    update_time: datetime | None
    end_time: datetime | None
    run_timeout_ms: float | None
    hop_count: int
    remaining_hops: int
    current_cycle: int
    max_cycles: int
    attempt_count: int
    """How often the run was taken up without committing anything new."""
    epoch: int
    """Grows each time the run is taken up."""
    last_sequence: int
    has_unresolved_review: bool
    """True when the last review still wanted changes as the cycles ran out."""
    usage: UsageView
    questions: list[QuestionView]
    citations: list[CitationView]


class RunList(View):
    """Runs, newest first."""

    runs: list[RunView]
    next_page_token: str
    cursor: str
    """Follow `/api/events` after it to hear of all later changes."""


class CheckpointView(ContractView):
    """State saved after a step."""

    contract = agent_v1.Checkpoint
    checkpoint_id: str
    parent_checkpoint_id: str
    thread_id: str
    run_id: str
    step: int
    """From -1 for the input."""
    create_time: datetime | None
    next_nodes: list[str]
    """Empty at the end."""
    state: dict[str, Any]
    """The state fields, when they were asked for."""
    size_bytes: int


class CandidateView(ContractView):
    """One service that could do it."""

    contract = agent_v1.Recommendation.Candidate
    service: str
    confidence: float
    """Calibrated probability that this is the right one, from 0 to 1."""
    matched_tags: list[str]
    nearest_examples: list[str]
    """Nearest first."""


class RecommendationView(ContractView):
    """What the router says of a query."""

    contract = agent_v1.Recommendation
    top: str
    """Empty when the router abstains."""
    candidates: list[CandidateView]
    """Best first."""
    router: str
    """What scored: `embedding`, `generative` or `heuristic`."""
    latency_ms: float | None


class DecisionView(ContractView):
    """What the arbitrator made of it."""

    contract = agent_v1.Decision
    action: Literal["unspecified", "call", "answer", "clarify"]
    capability: str
    role: str
    task: str
    reason: str
    source: Literal["unspecified", "model", "policy", "fallback", "guardian"]
    """What decided."""
    remaining_hops: int
    """How many hops may follow."""
    is_override: bool
    """True when the decision is not what the router recommended."""
    latency_ms: float | None


class ArtifactView(ContractView):
    """A named piece of work: code, the output of a program, a report, a verdict."""

    contract = common_v1.Artifact
    artifact_id: str
    kind: str
    name: str
    media_type: str
    text: str
    data: str
    """The content in base64, when it is not text."""
    sha256: str
    metadata: dict[str, str]


class MessageView(ContractView):
    """A message from one role to another within a run, or from outside to a role."""

    contract = common_v1.A2aMessage
    message_id: str
    sender_role: str
    recipient_role: str
    payload: dict[str, Any]
    hop_index: int
    """The hop during which it was sent."""
    correlation_id: str
    trace_id: str
    sequence: int
    """Position among the messages of this sender to this recipient, from 1."""
    create_time: datetime | None
    expire_time: datetime | None
    in_reply_to: str
    state: Literal["unspecified", "pending", "delivered", "acknowledged", "dead_lettered"]
    dead_letter_reason: str
