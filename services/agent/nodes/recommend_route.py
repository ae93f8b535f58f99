"""The step that asks the router."""

from datetime import timedelta

from langgraph.runtime import Runtime

from services.agent.ports import Node, Ports
from services.agent.spans import run_span
from services.agent.state import Recommendation, RunContext, RunState
from shared.pb import agent_v1
from shared.telemetry import attributes


def recommend_route(ports: Ports) -> Node:
    """Build the node: it writes `recommendation`."""

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context = runtime.context
        with run_span(attributes.SPAN_ROUTE, run_context) as span:
            recommendation = await ports.router.recommend(state["query"])
            span.set_attributes(
                {
                    attributes.ROUTER_RECOMMENDED: recommendation["top"] or "none",
                    attributes.ROUTER_CONFIDENCE: recommendation["confidence"],
                }
            )
            payload = agent_v1.RouteRecommended(recommendation=recommendation_to_proto(recommendation))
            ports.events.emit(run_context.run_id, payload)
        return RunState(recommendation=recommendation)

    return node


def recommendation_to_proto(recommendation: Recommendation) -> agent_v1.Recommendation:
    """The message for a recommendation."""
    message = agent_v1.Recommendation(
        top=recommendation["top"],
        router=recommendation["router"],
        candidates=[agent_v1.Recommendation.Candidate(**candidate) for candidate in recommendation["candidates"]],
    )
    message.latency.FromTimedelta(timedelta(milliseconds=recommendation["latency_ms"]))
    return message
