"""Wiring only: the `auto` workflow as a LangGraph graph."""

from dataclasses import dataclass, replace
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from services.agent.arbitrator import Thresholds
from services.agent.nodes.call_capability import after_call, call_capability
from services.agent.nodes.decide_next import decide_next, next_step
from services.agent.nodes.recommend_route import recommend_route
from services.agent.nodes.respond import respond
from services.agent.nodes.settle_doubt import settle_doubt
from services.agent.ports import Events, Node, Ports
from services.agent.state import RunContext, RunState
from shared.call_context import CallContext, EffectKeys, current_call, serving
from shared.fault_points import fault_point

Graph = CompiledStateGraph[RunState, RunContext, RunState, RunState]

AUTO = "auto"
AUTO_DESCRIPTION = "Recommends, decides, calls up to three services one after the other, and answers."


@dataclass(frozen=True)
class Limits:
    """The bounds of the steps."""

    thresholds: Thresholds
    arbitrate_timeout_s: float
    hop_timeout_s: float
    respond_timeout_s: float


def build_graph(ports: Ports, limits: Limits, saver: BaseCheckpointSaver[Any]) -> Graph:
    """recommend → arbitrate → (hop → arbitrate)* → respond."""
    graph = StateGraph(RunState, RunContext)
    graph.add_node("recommend_route", _step(recommend_route(ports), ports.events))
    graph.add_node(
        "decide_next", _step(decide_next(ports, limits.thresholds, limits.arbitrate_timeout_s), ports.events)
    )
    graph.add_node("call_capability", _step(call_capability(ports, limits.hop_timeout_s), ports.events))
    graph.add_node("settle_doubt", _step(settle_doubt(ports, limits.hop_timeout_s), ports.events))
    graph.add_node("respond", _step(respond(ports, limits.respond_timeout_s), ports.events))
    graph.add_edge(START, "recommend_route")
    graph.add_edge("recommend_route", "decide_next")
    graph.add_conditional_edges("decide_next", next_step, ["call_capability", "respond"])
    graph.add_conditional_edges("call_capability", after_call, ["decide_next", "settle_doubt"])
    graph.add_conditional_edges("settle_doubt", after_call, ["decide_next", "settle_doubt"])
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=saver, name=AUTO)


def _step(node: Node, events: Events) -> Node:
    """The node with names for its effects, between the two boundaries at which a test may kill the process."""

    async def step(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        fault_point("before_node")
        with serving(replace(current_call() or CallContext(), effect_keys=_effect_keys(runtime))):
            update = await node(state, runtime=runtime)
        # a step that has a checkpoint is not done again, so all of its text must be stored before that
        events.flush(runtime.context.run_id)
        fault_point("before_checkpoint")
        return update

    return step


def _effect_keys(runtime: Runtime[RunContext]) -> EffectKeys | None:
    # LangGraph's task id is the same across retries and resumes of this step, and another on its next visit
    info = runtime.execution_info
    return EffectKeys(f"{runtime.context.thread_id}/{info.task_id}") if info else None


def recursion_limit(max_hops: int) -> int:
    """Steps that a run of `max_hops` may take: a bound of ours, not the library's."""
    return 2 * max_hops + 4
