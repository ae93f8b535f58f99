"""Wiring only: the `auto` workflow as a LangGraph graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from services.agent.arbitrator import Thresholds
from services.agent.nodes.ask_user import ask_user
from services.agent.nodes.call_capability import CallStep, call_capability
from services.agent.nodes.decide_next import decide_next, next_step
from services.agent.nodes.recommend_route import recommend_route
from services.agent.nodes.respond import respond
from services.agent.nodes.settle_doubt import settle_doubt
from services.agent.ports import Node, Ports
from services.agent.state import RunContext, RunState
from services.agent.step import StepBoundary, step

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
    context_budget_tokens: int = 600
    """Of a thread's conversation, what the next run is told."""


def build_graph(
    ports: Ports, limits: Limits, saver: BaseCheckpointSaver[Any], boundaries: Sequence[StepBoundary] = ()
) -> Graph:
    """recommend → arbitrate → (hop → arbitrate)* → respond."""
    graph = StateGraph(RunState, RunContext)

    def add(name: str, node: Node) -> None:
        graph.add_node(name, step(name, node, ports.events, boundaries))

    call = CallStep("call_capability", limits.hop_timeout_s)
    add("recommend_route", recommend_route(ports))
    add("decide_next", decide_next(ports, limits.thresholds, limits.arbitrate_timeout_s))
    add("ask_user", ask_user())
    add("call_capability", call_capability(ports, call))
    add("settle_doubt", settle_doubt(ports, {call.name: call}))
    add("respond", respond(ports, limits.respond_timeout_s, limits.context_budget_tokens))
    graph.add_edge(START, "recommend_route")
    graph.add_edge("recommend_route", "decide_next")
    graph.add_conditional_edges("decide_next", next_step, ["call_capability", "ask_user", "respond"])
    graph.add_edge("ask_user", "recommend_route")
    graph.add_conditional_edges("call_capability", _after_call, ["decide_next", "settle_doubt"])
    graph.add_conditional_edges("settle_doubt", _after_call, ["decide_next", "settle_doubt"])
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=saver, name=AUTO)


def _after_call(state: RunState) -> str:
    return "settle_doubt" if state.get("doubts") else "decide_next"


def steps_of(workflow: str) -> Sequence[str]:
    """The steps of a workflow that call a service, and so can be skipped."""
    return ["call_capability"] if workflow == AUTO else []


def recursion_limit(max_hops: int) -> int:
    """Steps that a run of `max_hops` may take: a bound of ours, not the library's."""
    return 2 * max_hops + 7  # the last three for a question back
