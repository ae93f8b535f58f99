"""The shapes of server-sent events: one model for each `event`, in a union for each stream."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from services.control.gateway.incident_views import IncidentView
from services.control.gateway.run_event_views import (
    DecisionMadeEvent,
    HopEndedEvent,
    HopStartedEvent,
    MessageSentEvent,
    RunEventType,
    RunEventView,
)
from services.control.gateway.run_views import RunView
from services.control.gateway.view import View
from services.control.gateway.views import ErrorView, ModeView, ServiceList, SpanView


class Cursor(View):
    """Where a reader of `/api/events` stands."""

    cursor: str


class Reset(View):
    """Events between two cursors are not to be had any more: fetch the state again. What follows is new."""

    after: str
    """The cursor that the reader had."""
    until: str
    """The cursor that it has now."""
    cause: Literal["too_old", "another_life"]
    """Whether the reader was too slow or away for too long, or came with a cursor that is not from here."""
    missed: int | None
    """How many events; None when nobody can say."""


class End(View):
    """Why a stream ends.

    After `finished` and `gone` (the agent does not have the run any more) nothing more will come; otherwise come back
    with the last id.
    """

    reason: Literal["finished", "gone", "interrupted", "shutting_down"]
    error: ErrorView | None = None


class ReadySse(View):
    """First on `/api/events`."""

    event: Literal["ready"]
    id: str
    data: Cursor


class RegistryChangedSse(View):
    """The list of services changed."""

    event: Literal["registry_changed"]
    id: str
    data: ServiceList


class SpanStartedSse(View):
    """A span started."""

    event: Literal["span_started"]
    id: str
    data: SpanView


class SpanEndedSse(View):
    """A span ended, or was lost with its process."""

    event: Literal["span_ended"]
    id: str
    data: SpanView


class RunChangedSse(View):
    """A run began, changed its state, ended, or was lost with its agent."""

    event: Literal["run_changed"]
    id: str
    data: RunView


class HopSse(View):
    """A hop started or ended; the data's `type` says which."""

    event: Literal["hop"]
    id: str
    data: Annotated[HopStartedEvent | HopEndedEvent, Field(discriminator="type")]


class DecisionSse(View):
    """The arbitrator decided."""

    event: Literal["decision"]
    id: str
    data: DecisionMadeEvent


class A2aMessageSse(View):
    """A capability sent a message to another."""

    event: Literal["a2a_message"]
    id: str
    data: MessageSentEvent


class ModeChangedSse(View):
    """The observability mode, or how long it holds, changed."""

    event: Literal["mode_changed"]
    id: str
    data: ModeView


class IncidentSse(View):
    """Something went wrong, or was put right again."""

    event: Literal["incident"]
    id: str
    data: IncidentView


class ResetSse(View):
    """The reader missed events; `id` is where it stands now."""

    event: Literal["reset"]
    id: str
    data: Reset


class RunEventSse(View):
    """An event of a run; `event` is the data's `type` and `id` the sequence number."""

    event: RunEventType
    id: str
    data: RunEventView


class EndSse(View):
    """Last on every stream; it has no id."""

    event: Literal["end"]
    data: End


ControlSse = TypeAliasType(
    "ControlSse",
    Annotated[
        ReadySse
        | RegistryChangedSse
        | SpanStartedSse
        | SpanEndedSse
        | RunChangedSse
        | HopSse
        | DecisionSse
        | A2aMessageSse
        | ModeChangedSse
        | IncidentSse
        | ResetSse
        | EndSse,
        Field(discriminator="event", description="An event of `/api/events`: its lines `event`, `id` and `data`."),
    ],
)
RunSse = TypeAliasType(
    "RunSse",
    Annotated[
        RunEventSse | ResetSse | EndSse,
        Field(discriminator="event", description="An event of a run's stream: its lines `event`, `id` and `data`."),
    ],
)
STREAMS = {"ControlSse": ControlSse, "RunSse": RunSse}
"""What each stream sends, by the name of its schema."""
