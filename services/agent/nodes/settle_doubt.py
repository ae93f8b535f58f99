"""The step that asks about a call that somebody must decide about, and does what they say."""

from collections.abc import Mapping
from dataclasses import replace

from langgraph.runtime import Runtime

from services.agent.approvals import SCHEMA, denial
from services.agent.hop_call import HopCall
from services.agent.nodes.call_capability import CallStep, attempt, hop_task
from services.agent.ports import HopTask, Node, Ports
from services.agent.question import ask
from services.agent.state import Doubt, RunContext, RunState
from shared.errors import InDoubt, WaystationError

REPEAT = "repeat"
SKIP = "skip"
"""The answers about an effect in doubt."""


def settle_doubt(ports: Ports, steps: Mapping[str, CallStep]) -> Node:
    """Build the node: it asks about one call, then makes it or gives the hop up.

    An effect in doubt is repeated under its key. A call that comes to be undecided again is asked about anew. `steps`
    are those that call, by name.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        doubt = next(doubt for _, doubt in sorted(state["doubts"].items()) if doubt)
        capability = doubt["capability"]
        refusal = _refusal(state, doubt)  # may end the step here until there is an answer
        task = _task(state, steps[doubt["step"]], doubt, runtime.context)
        if refusal:
            update = RunState(hops=[HopCall(ports, runtime.context, capability, task).give_up(refusal)])
        else:
            update = await attempt(ports, runtime.context, capability, task, is_final="wanted" not in doubt)
        return RunState(doubts={doubt["step"]: None}, **update) if "hops" in update else update

    return node


def _refusal(state: RunState, doubt: Doubt) -> WaystationError | None:
    """Why the call is not made."""
    if "wanted" in doubt:
        return denial(ask(state, doubt["message"], "policy", SCHEMA))
    text = f"{doubt['message']} Do it again, which may do it twice, or go on without it?"
    decided = ask(state, text, "in_doubt", {"enum": [REPEAT, SKIP]})
    return None if decided == REPEAT else InDoubt(doubt["message"])


def _task(state: RunState, step: CallStep, doubt: Doubt, run_context: RunContext) -> HopTask:
    task = replace(hop_task(state, step, doubt["key"], index=doubt["index"]), role=doubt["role"])
    approved = tuple(doubt.get("approved", ()))
    if "wanted" not in doubt:
        return replace(task, may_have_run=True, repeats_in_doubt=True, approved_tool_calls=approved)
    # a process that died while it made the approved call has left its key
    has_begun = run_context.open_hops.get(doubt["index"]) == doubt["key"]
    return replace(task, may_have_run=has_begun, approved_tool_calls=(*approved, doubt["wanted"]))
