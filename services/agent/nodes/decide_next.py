"""The step that asks the arbitrator, and the pure routing on what it decided."""

import time
from datetime import timedelta

from langgraph.runtime import Runtime

from services.agent.arbitrator import Thresholds, arbitrate
from services.agent.guardian.routes import forced_decision, without_vetoed
from services.agent.ports import Node, Ports
from services.agent.prompts import MAX_MESSAGES
from services.agent.spans import run_span
from services.agent.state import Decision, RunContext, RunState, remaining_hops
from shared.pb import agent_v1
from shared.telemetry import attributes

_ACTIONS = {
    "call": agent_v1.Decision.ACTION_CALL,
    "answer": agent_v1.Decision.ACTION_ANSWER,
    "clarify": agent_v1.Decision.ACTION_CLARIFY,
}
_SOURCES = {
    "model": agent_v1.Decision.SOURCE_MODEL,
    "policy": agent_v1.Decision.SOURCE_POLICY,
    "fallback": agent_v1.Decision.SOURCE_FALLBACK,
    "guardian": agent_v1.Decision.SOURCE_GUARDIAN,
}


def decide_next(ports: Ports, thresholds: Thresholds, timeout_s: float) -> Node:
    """Build the node: it writes `decision`."""

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context, started = runtime.context, time.perf_counter()
        planning = {attributes.OPERATION: attributes.PLAN, attributes.PROVIDER: attributes.OURS}
        with run_span(attributes.SPAN_ARBITRATE, run_context, planning) as span:
            model = ports.chat_models[state["effort"]]
            mail = ports.mail.recent(run_context.run_id, MAX_MESSAGES)
            seen, services = without_vetoed(state, ports.directory.services())
            forced = forced_decision(state)
            decision = forced or (await arbitrate(seen, services, model, thresholds, timeout_s, mail)).decision
            span.set_attributes(
                {
                    attributes.DECISION_ACTION: decision["action"],
                    attributes.DECISION_CAPABILITY: decision["capability"] or "none",
                    attributes.DECISION_SOURCE: decision["source"],
                    attributes.DECISION_REASON: decision["reason"],
                    attributes.HOP_COUNT: len(state["hops"]),
                    attributes.HOP_REMAINING: remaining_hops(state),
                    attributes.CYCLE_CURRENT: state["current_cycle"],
                    attributes.ROUTER_RECOMMENDED: state["recommendation"]["top"] or "none",
                    attributes.ROUTER_CONFIDENCE: state["recommendation"]["confidence"],
                }
            )
            message = decision_to_proto(decision, state, time.perf_counter() - started)
            ports.events.emit(run_context.run_id, agent_v1.DecisionMade(decision=message))
        return RunState(decision=decision, forced_capability="", vetoed_capabilities=[])

    return node


def decision_to_proto(decision: Decision, state: RunState, seconds: float) -> agent_v1.Decision:
    """The message for a decision that took `seconds`."""
    message = agent_v1.Decision(
        action=_ACTIONS[decision["action"]],
        capability=decision["capability"],
        role=decision["role"],
        task=decision["task"],
        reason=decision["reason"],
        source=_SOURCES[decision["source"]],
        remaining_hops=remaining_hops(state),
        is_override=decision["is_override"],
    )
    message.latency.FromTimedelta(timedelta(seconds=seconds))
    return message
