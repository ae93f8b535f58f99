"""The step that asks what to do about an effect in doubt, and does it."""

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from services.agent.hop_call import HopCall
from services.agent.nodes.call_capability import hop_done, hop_task
from services.agent.ports import Node, Ports
from services.agent.state import Doubt, RunContext, RunState
from shared.errors import InDoubt

REPEAT = "repeat"
SKIP = "skip"
"""The answers."""


def settle_doubt(ports: Ports, timeout_s: float) -> Node:
    """Build the node: it asks, then repeats the call under its key or gives the hop up; a new doubt is asked anew."""

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        doubt = state["doubt"]
        assert doubt, "the graph leads here with a doubt only"
        decided = interrupt(_question(doubt))  # the step ends here until there is an answer
        task = hop_task(state, timeout_s, doubt["key"], may_have_run=True, repeats_in_doubt=True)
        call = HopCall(ports, runtime.context, doubt["capability"], task)
        if decided != REPEAT:
            return hop_done(state, call.give_up(InDoubt(doubt["message"])))
        try:
            return hop_done(state, await call.run())
        except InDoubt as again:
            return RunState(doubt=Doubt(capability=doubt["capability"], key=doubt["key"], message=again.message))

    return node


def _question(doubt: Doubt) -> dict[str, object]:
    return {
        "text": f"{doubt['message']} Do it again, which may do it twice, or go on without it?",
        "asked_by": "in_doubt",
        "response_schema": {"enum": [REPEAT, SKIP]},
    }
