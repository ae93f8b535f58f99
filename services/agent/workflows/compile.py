"""Compiles a workflow document to a LangGraph graph."""

from collections.abc import Callable, Sequence
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from services.agent.graph import Graph, Kit
from services.agent.nodes.ask_user import ask_user
from services.agent.nodes.call_capability import CallStep, call_capability
from services.agent.nodes.decide_next import decide_next
from services.agent.nodes.judge import judge
from services.agent.nodes.recommend_route import recommend_route
from services.agent.nodes.respond import respond
from services.agent.nodes.settle_doubt import settle_doubt
from services.agent.ports import Events, Node
from services.agent.state import RunContext, RunState, remaining_hops
from services.agent.step import step
from services.agent.workflows.checks import Shape
from services.agent.workflows.document import RESPOND, SETTLE_DOUBT, Step, WorkflowDocument, targets
from services.agent.workflows.predicates import parse
from shared.pb import agent_v1

Route = Callable[[RunState], list[str]]


def compile_workflow(document: WorkflowDocument, kit: Kit) -> Graph:
    """The graph of a document that was checked."""
    return _Compiler(document, kit).graph()


def recursion_limit(node_count: int, max_hops: int, max_cycles: int) -> int:
    """Steps that one life of a run may take: a bound of ours, not the library's.

    Between two calls, two cycles, or before a question back, each step is done once at most; a call may be in doubt
    twice.
    """
    return (max_hops + max_cycles + 2) * node_count + 2 * max_hops


class _Compiler:
    def __init__(self, document: WorkflowDocument, kit: Kit) -> None:
        self._document, self._kit, self._shape = document, kit, Shape(document)
        groups = [group for _, group in self._shape.groups()]
        self._places = {name: (offset, len(group)) for group in groups for offset, name in enumerate(group)}
        self._merges = {targets(self._shape.steps[group[0]].edges[0].to)[0] for group in groups}
        self._calls = {step.name: self._call(step) for step in document.steps if step.kind == "call"}
        self._asks = {step.name for step in document.steps if step.kind == "ask"}
        loop = document.loop.step if document.loop else ""
        self._turns = {name for name in self._shape.steps if loop in self._shape.reached([name])}

    def graph(self) -> Graph:
        graph = StateGraph(RunState, RunContext)
        for each in self._document.steps:
            self._add(graph, each.name, self._node(each))
        limits, ports = self._kit.limits, self._kit.ports
        answer = respond(ports, limits.respond_timeout_s, limits.context_budget_tokens, self._document.answer_from)
        self._add(graph, RESPOND, answer)
        self._connect(graph)
        if self._calls:
            self._add(graph, SETTLE_DOUBT, settle_doubt(ports, self._calls))
            ways = sorted({SETTLE_DOUBT, *(way for name in self._calls for way in self._ways(name))})
            graph.add_conditional_edges(SETTLE_DOUBT, self._after_doubt(), ways)
        graph.add_edge(RESPOND, END)
        return graph.compile(checkpointer=self._kit.saver, name=self._document.name)

    def _add(self, graph: Any, name: str, node: Node) -> None:
        is_lead = self._places.get(name, (0, 1))[0] == 0
        wrapped = step(name, node, self._kit.ports.events, self._kit.boundaries, is_lead)
        # what several lead to waits until none of them has anything left to do
        graph.add_node(name, wrapped, defer=name in self._merges)

    def _node(self, each: Step) -> Node:
        ports, limits = self._kit.ports, self._kit.limits
        match each.kind:
            case "recommend":
                node = recommend_route(ports)
            case "decide":
                node = decide_next(ports, limits.thresholds, each.timeout_s or limits.arbitrate_timeout_s)
            case "ask":
                node = ask_user()
            case "judge":
                node = judge(ports, each.timeout_s or limits.arbitrate_timeout_s)
            case "call":
                node = call_capability(ports, self._calls[each.name])
        is_counted = self._document.loop is not None and self._document.loop.step == each.name
        return _counted(node, ports.events) if is_counted else node

    def _call(self, each: Step) -> CallStep:
        offset, group_size = self._places.get(each.name, (0, 1))
        return CallStep(
            each.name,
            each.timeout_s or self._kit.limits.hop_timeout_s,
            each.capability,
            each.role,
            each.effort,
            offset,
            group_size,
        )

    def _connect(self, graph: Any) -> None:
        entry = self._document.entry
        if any(name in self._calls for name in entry):
            start = self._guarded([(parse("always"), entry)], "")
            graph.add_conditional_edges(START, start, [*entry, RESPOND])
        else:
            graph.add_edge(START, entry[0])
        for name in self._shape.steps:
            ways = self._ways(name)
            if name in self._calls:
                graph.add_conditional_edges(name, self._after_call(name), [*ways, SETTLE_DOUBT])
            elif len(ways) == 1:
                graph.add_edge(name, ways[0])
            else:
                graph.add_conditional_edges(name, self._after(name), ways)

    def _ways(self, name: str) -> list[str]:
        """Where a step may lead: along its edges, or to the answer when there is no budget for that."""
        ways = {target for edge in self._shape.steps[name].edges for target in targets(edge.to)}
        is_bounded = any(way in self._calls for way in ways) or bool((self._turns | self._asks) & ways)
        is_open = all(edge.when != "always" for edge in self._shape.steps[name].edges)
        return sorted(ways | ({RESPOND} if is_bounded or is_open else set()))

    def _after(self, name: str) -> Route:
        edges = [(parse(edge.when), targets(edge.to)) for edge in self._shape.steps[name].edges]
        return self._guarded(edges, name)

    def _after_call(self, name: str) -> Route:
        route = self._after(name)
        return lambda state: [SETTLE_DOUBT] if state.get("doubts", {}).get(name) else route(state)

    def _after_doubt(self) -> Route:
        routes = {name: self._after(name) for name in self._calls}

        def route(state: RunState) -> list[str]:
            # those that ran beside it lead to the same step
            return [SETTLE_DOUBT] if state.get("doubts") else routes[state["hops"][-1]["step"]](state)

        return route

    def _guarded(self, edges: Sequence[tuple[Callable[[RunState], bool], tuple[str, ...]]], name: str) -> Route:
        """The first edge whose condition holds, unless hops or cycles have run out for it."""
        loop = self._document.loop

        def route(state: RunState) -> list[str]:
            for holds, ways in edges:
                if holds(state):
                    calls = sum(way in self._calls for way in ways)
                    is_affordable = not calls or calls <= self._remaining_hops(state, name)
                    is_over = loop is not None and state["current_cycle"] >= state["max_cycles"]
                    is_turn = name == (loop and loop.step) and any(way in self._turns for way in ways)
                    is_allowed = not (is_over and (is_turn or (loop and loop.step in ways)))
                    may_ask = not (state["hops"] or state.get("has_asked")) or not self._asks.intersection(ways)
                    return list(ways) if is_affordable and is_allowed and may_ask else [RESPOND]
            return [RESPOND]

        return route

    def _remaining_hops(self, state: RunState, name: str) -> int:
        """What remains once all that ran beside the step has ended; the step itself sees its own hop only."""
        offset, size = self._places.get(name, (0, 1))
        made = [hop["index"] for hop in state["hops"] if hop["step"] == name] if size > 1 else []
        return state["max_hops"] - (made[-1] - offset + size) if made else remaining_hops(state)


def _counted(node: Node, events: Events) -> Node:
    """The node of the bounded loop's step: each time it begins is a cycle."""

    async def run(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        counted = RunState(current_cycle=state["current_cycle"] + 1)
        changed = agent_v1.CycleChanged(current_cycle=counted["current_cycle"], max_cycles=state["max_cycles"])
        events.emit(runtime.context.run_id, changed)
        return counted | await node(state | counted, runtime=runtime)

    return run
