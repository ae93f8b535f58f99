"""What becomes of acts: which of them a run's new state fulfils, and how that gets into events, trace and audit log."""

from collections.abc import Mapping
from typing import Any

import apsw
from opentelemetry import trace

from services.agent.guardian.audit import ID_PREFIX, Act, Effect, append_effect, open_acts
from services.agent.run_rows import is_finished
from shared.capability.wire import json_value
from shared.pb import agent_v1
from shared.telemetry import attributes

_FULFILS = {
    agent_v1.Run.STATE_PAUSED: "pause",
    agent_v1.Run.STATE_RUNNING: "resume",
    agent_v1.Run.STATE_CANCELLED: "cancel",
}


def state_name(state: agent_v1.Run.State.ValueType) -> str:
    """A run's state as the log has it."""
    return agent_v1.Run.State.Name(state).removeprefix("STATE_").lower()


def acted(act: Act, before: Mapping[str, Any], after: Mapping[str, Any]) -> agent_v1.GuardianActed:
    """The event of an act that takes effect."""
    order = act.order
    payload = agent_v1.GuardianActed(
        intervention_id=act.act_id, actor=order.actor, action=order.action, reason=order.reason
    )
    payload.before.update(dict(before))
    payload.after.update(dict(after))
    return payload


def fulfilled(connection: apsw.Connection, run: agent_v1.Run) -> list[agent_v1.GuardianActed]:
    """The acts that take effect with the state that the run has by now."""
    return [
        acted(act, {"state": act.run_state}, {"state": state_name(run.state)})
        for act in open_acts(connection, run.run_id)
        if act.order.action == _FULFILS.get(run.state)
    ]


def record_in_trace(payload: agent_v1.GuardianActed) -> None:
    """Say it on the current span, which is one of the run's."""
    told = {
        attributes.GUARDIAN_ACT: payload.intervention_id,
        attributes.GUARDIAN_ACTOR: payload.actor,
        attributes.GUARDIAN_ACTION: payload.action,
        attributes.GUARDIAN_REASON: payload.reason,
    }
    trace.get_current_span().add_event(attributes.EVENT_GUARDIAN, told)


def note_event(connection: apsw.Connection, event: agent_v1.RunEvent) -> None:
    """Record in the log that an act took effect, in the transaction that stores its event."""
    if event.WhichOneof("payload") == "guardian_acted":
        payload = event.guardian_acted
        effect = Effect("applied", json_value(payload.before), json_value(payload.after))
        append_effect(connection, event.run_id, int(payload.intervention_id.removeprefix(ID_PREFIX)), effect)


def note_rest(connection: apsw.Connection, run: agent_v1.Run) -> None:
    """Record what became of the acts that came too late for an event, as the run is stored at rest."""
    after = {"state": state_name(run.state)}
    for act in open_acts(connection, run.run_id):
        if act.order.action == _FULFILS.get(run.state):
            append_effect(connection, run.run_id, act.entry, Effect("applied", {"state": act.run_state}, after))
        elif is_finished(run):
            append_effect(connection, run.run_id, act.entry, Effect("lapsed", {"state": act.run_state}, after))
