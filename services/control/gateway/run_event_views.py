"""The shapes of what happens in a run: one model for each payload of `RunEvent`, in a union by `type`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from typing_extensions import TypeAliasType

from services.control.gateway.run_views import (
    ArtifactView,
    CheckpointView,
    CitationView,
    DecisionView,
    MessageView,
    QuestionView,
    RecommendationView,
    RunErrorView,
    RunView,
    UsageView,
)
from services.control.gateway.view import ContractView, View, plain
from shared.pb import agent_v1


class StateChanged(ContractView):
    """The run's state changed; with a terminal state this is the run's last event."""

    contract = agent_v1.RunStateChanged
    run: RunView


class RouteRecommended(ContractView):
    """The router recommended."""

    contract = agent_v1.RouteRecommended
    recommendation: RecommendationView


class DecisionMade(ContractView):
    """The arbitrator decided."""

    contract = agent_v1.DecisionMade
    decision: DecisionView


class HopStarted(ContractView):
    """A capability is about to be called."""

    contract = agent_v1.HopStarted
    hop_index: int
    """From 0."""
    capability: str
    role: str
    task: str
    address: str
    idempotency_key: str


class HopEnded(ContractView):
    """A capability answered or failed."""

    contract = agent_v1.HopEnded
    hop_index: int
    capability: str
    role: str
    error: RunErrorView | None
    outcome: str
    """`answered`, `no_answer`, `incomplete` or `degraded`."""
    duration_ms: float | None
    usage: UsageView
    is_replayed: bool
    """True when the outcome came from the ledger of an earlier attempt."""


class TextProduced(ContractView):
    """A piece of text came."""

    contract = agent_v1.TextProduced
    text: str
    step: str
    """The step that writes: `hop` or `respond`."""
    hop_index: int
    """-1 outside hops."""
    attempt: int
    """From 1; a higher attempt replaces the text of the lower ones."""
    is_answer: bool


class ToolCalled(ContractView):
    """A hop calls a tool."""

    contract = agent_v1.ToolCalled
    hop_index: int
    tool_call_id: str
    name: str
    arguments: dict[str, Any]


class ToolReturned(ContractView):
    """A tool returned or failed."""

    contract = agent_v1.ToolReturned
    hop_index: int
    tool_call_id: str
    name: str
    content: str
    is_error: bool


class ArtifactMade(ContractView):
    """A hop made something."""

    contract = agent_v1.ArtifactMade
    hop_index: int
    artifact: ArtifactView


class CitationFound(ContractView):
    """A source of the answer."""

    contract = agent_v1.CitationFound
    hop_index: int
    citation: CitationView


class MessageSent(ContractView):
    """One role sent another a message."""

    contract = agent_v1.MessageSent
    message: MessageView


class CheckpointSaved(ContractView):
    """A step's state was committed."""

    contract = agent_v1.CheckpointSaved
    checkpoint: CheckpointView


class QuestionAsked(ContractView):
    """The run waits for an answer."""

    contract = agent_v1.QuestionAsked
    question: QuestionView


class QuestionAnswered(ContractView):
    """The answer was taken in."""

    contract = agent_v1.QuestionAnswered
    question_id: str
    answer: Any


class GuardianActed(ContractView):
    """Somebody intervened."""

    contract = agent_v1.GuardianActed
    intervention_id: str
    actor: str
    action: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]


class CycleChanged(ContractView):
    """A bounded loop made a turn."""

    contract = agent_v1.CycleChanged
    current_cycle: int
    max_cycles: int
    has_unresolved_review: bool


class RunResumed(ContractView):
    """A new owner took the run up."""

    contract = agent_v1.RunResumed
    epoch: int
    attempt: int
    """From 1."""
    checkpoint_id: str
    """The checkpoint it goes on from."""
    cause: str
    """`crash`, `pause`, `answer` or `request`."""


class _RunEvent(View):
    run_id: str
    sequence: int
    """Position in the run, from 1, without gaps."""
    create_time: datetime
    correlation_id: str
    trace_id: str
    span_id: str
    """The span it happened in."""


class StateChangedEvent(_RunEvent):
    type: Literal["state_changed"]
    payload: StateChanged


class RouteRecommendedEvent(_RunEvent):
    type: Literal["route_recommended"]
    payload: RouteRecommended


class DecisionMadeEvent(_RunEvent):
    type: Literal["decision_made"]
    payload: DecisionMade


class HopStartedEvent(_RunEvent):
    type: Literal["hop_started"]
    payload: HopStarted


class HopEndedEvent(_RunEvent):
    type: Literal["hop_ended"]
    payload: HopEnded


class TextProducedEvent(_RunEvent):
    type: Literal["text_produced"]
    payload: TextProduced


class ToolCalledEvent(_RunEvent):
    type: Literal["tool_called"]
    payload: ToolCalled


class ToolReturnedEvent(_RunEvent):
    type: Literal["tool_returned"]
    payload: ToolReturned


class ArtifactMadeEvent(_RunEvent):
    type: Literal["artifact_made"]
    payload: ArtifactMade


class CitationFoundEvent(_RunEvent):
    type: Literal["citation_found"]
    payload: CitationFound


class MessageSentEvent(_RunEvent):
    type: Literal["message_sent"]
    payload: MessageSent


class CheckpointSavedEvent(_RunEvent):
    type: Literal["checkpoint_saved"]
    payload: CheckpointSaved


class QuestionAskedEvent(_RunEvent):
    type: Literal["question_asked"]
    payload: QuestionAsked


class QuestionAnsweredEvent(_RunEvent):
    type: Literal["question_answered"]
    payload: QuestionAnswered


class GuardianActedEvent(_RunEvent):
    type: Literal["guardian_acted"]
    payload: GuardianActed


class CycleChangedEvent(_RunEvent):
    type: Literal["cycle_changed"]
    payload: CycleChanged


class RunResumedEvent(_RunEvent):
    type: Literal["run_resumed"]
    payload: RunResumed


class UnknownEvent(_RunEvent):
    """An event of a newer agent; this control plane cannot read its payload."""

    type: Literal["unknown"]
    payload: dict[str, Any]


RunEventView = TypeAliasType(
    "RunEventView",
    Annotated[
        StateChangedEvent
        | RouteRecommendedEvent
        | DecisionMadeEvent
        | HopStartedEvent
        | HopEndedEvent
        | TextProducedEvent
        | ToolCalledEvent
        | ToolReturnedEvent
        | ArtifactMadeEvent
        | CitationFoundEvent
        | MessageSentEvent
        | CheckpointSavedEvent
        | QuestionAskedEvent
        | QuestionAnsweredEvent
        | GuardianActedEvent
        | CycleChangedEvent
        | RunResumedEvent
        | UnknownEvent,
        Field(discriminator="type", description="One thing that happened in a run."),
    ],
)
RunEventType = Literal[
    "state_changed",
    "route_recommended",
    "decision_made",
    "hop_started",
    "hop_ended",
    "text_produced",
    "tool_called",
    "tool_returned",
    "artifact_made",
    "citation_found",
    "message_sent",
    "checkpoint_saved",
    "question_asked",
    "question_answered",
    "guardian_acted",
    "cycle_changed",
    "run_resumed",
    "unknown",
]
_ANY_EVENT: TypeAdapter[RunEventView] = TypeAdapter(RunEventView)


def run_event_view(event: agent_v1.RunEvent) -> RunEventView:
    """An event of a run as JSON; a payload of a newer agent has the type `unknown`."""
    kind = event.WhichOneof("payload")
    return _ANY_EVENT.validate_python(
        {
            "run_id": event.run_id,
            "sequence": event.sequence,
            "create_time": event.create_time.ToDatetime(UTC),
            "correlation_id": event.correlation_id,
            "trace_id": event.trace_id,
            "span_id": event.span_id,
            "type": kind or "unknown",
            "payload": plain(getattr(event, kind)) if kind else {},
        }
    )
