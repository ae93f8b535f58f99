"""The events of a run as CloudEvents 1.0, under the names by which docs/event_schema.md speaks of them."""

from datetime import UTC
from typing import Any

from google.protobuf.json_format import MessageToDict

from shared.pb import agent_v1

TYPE_PREFIX = "waystation.agent.v1."
SCHEMA_PREFIX = "urn:waystation:event:v1:"
NAMES = {
    "state_changed": "RunStateChanged",
    "route_recommended": "AgentRouted",
    "decision_made": "DecisionMade",
    "hop_started": "HopStarted",
    "hop_ended": "HopEnded",
    "text_produced": "TextProduced",
    "tool_called": "ToolCalled",
    "tool_returned": "ToolExecuted",
    "artifact_made": "ArtifactMade",
    "citation_found": "CitationFound",
    "message_sent": "MessageSent",
    "checkpoint_saved": "CheckpointSaved",
    "question_asked": "QuestionAsked",
    "question_answered": "QuestionAnswered",
    "guardian_acted": "GuardianActed",
    "cycle_changed": "CycleChanged",
    "run_resumed": "RunResumed",
}
"""The conceptual name of each payload of `RunEvent`."""


def cloud_event(event: agent_v1.RunEvent) -> dict[str, Any]:
    """The event in CloudEvents' JSON format. A payload of a newer contract is `UnknownEvent`, without data.

    `source` and `id` together name it for ever: a consumer that has seen the pair has seen the event. `traceparent`
    (W3C) is there when the event happened within a span.
    """
    kind = event.WhichOneof("payload")
    name = NAMES.get(kind, "UnknownEvent") if kind else "UnknownEvent"
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.sequence),
        "source": f"/waystation/runs/{event.run_id}",
        "type": TYPE_PREFIX + name,
        "subject": event.run_id,
        "time": event.create_time.ToDatetime(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": f"{event.sequence:019d}",
        "correlationid": event.correlation_id,
    }
    if event.trace_id and event.span_id:
        made["traceparent"] = f"00-{event.trace_id}-{event.span_id}-01"
    if kind in NAMES:
        made["dataschema"] = SCHEMA_PREFIX + name
        made["data"] = MessageToDict(getattr(event, kind), preserving_proto_field_name=True)
    return made
