"""What every node of a graph is wrapped in: names for its effects, and a boundary at which others act on the run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from langgraph.runtime import Runtime

from services.agent.ports import Events, Node
from services.agent.state import RunContext, RunState
from shared.call_context import CallContext, EffectKeys, current_call, serving
from shared.fault_points import fault_point


class StepBoundary(Protocol):
    """Somebody who may act on a run before each of its steps."""

    async def enter(self, step: str, state: RunState, run_context: RunContext) -> RunState:
        """The changes to the state that the step is to see; they are committed in the step's own checkpoint.

        Called again from the same state when the process dies before that checkpoint, and never again after it: keep
        the number of the last entry that was applied in a state key. Keys with a reducer cannot be changed here.
        """
        ...


def step(name: str, node: Node, events: Events, boundaries: Sequence[StepBoundary] = (), is_lead: bool = True) -> Node:
    """The node as a step of a graph, between the two boundaries at which a test may kill the process.

    Of several steps that run at once all see what boundaries change, and only the lead stores it.
    """

    async def run(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        fault_point("before_node")
        changes, ids = RunState(), runtime.context
        if ids.asked_entries and runtime.execution_info:
            ids = replace(ids, asked_entry=ids.asked_entries.get(runtime.execution_info.task_id))
        for boundary in boundaries:
            changes |= await boundary.enter(name, state | changes, ids)
        with serving(replace(current_call() or CallContext(), effect_keys=_effect_keys(runtime))):
            update = await node(state | changes, runtime=runtime)
        # a step that has a checkpoint is not done again, so all of its text must be stored before that
        events.flush(runtime.context.run_id)
        fault_point("before_checkpoint")
        return changes | update if is_lead else update

    return run


def _effect_keys(runtime: Runtime[RunContext]) -> EffectKeys | None:
    # LangGraph's task id is the same across retries and resumes of this step, and another on its next visit
    info = runtime.execution_info
    return EffectKeys(f"{runtime.context.thread_id}/{info.task_id}") if info else None
