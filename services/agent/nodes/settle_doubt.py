"""The step that asks what to do about an effect in doubt, and does it."""

from collections.abc import Mapping
from dataclasses import replace

from langgraph.runtime import Runtime

from services.agent.hop_call import HopCall
from services.agent.nodes.call_capability import CHANGED, CallStep, hop_task, in_doubt, key_anew
from services.agent.ports import Node, Ports
from services.agent.question import ask
from services.agent.state import Doubt, Hop, RunContext, RunState
from shared.errors import IdempotencyMismatch, InDoubt

REPEAT = "repeat"
SKIP = "skip"
"""The answers."""


def settle_doubt(ports: Ports, steps: Mapping[str, CallStep]) -> Node:
    """Build the node: it asks about one doubt, then repeats that call under its key or gives the hop up.

    A new doubt is asked about anew. `steps` are those that call, by name.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        doubt = next(doubt for _, doubt in sorted(state["doubts"].items()) if doubt)
        text = f"{doubt['message']} Do it again, which may do it twice, or go on without it?"
        decided = ask(state, text, "in_doubt", {"enum": [REPEAT, SKIP]})
        task = replace(
            hop_task(state, steps[doubt["step"]], doubt["key"], index=doubt["index"], may_have_run=True),
            role=doubt["role"],
            repeats_in_doubt=True,
        )
        call = HopCall(ports, runtime.context, doubt["capability"], task)
        if decided != REPEAT:
            return _settled(doubt, call.give_up(InDoubt(doubt["message"])))
        try:
            return _settled(doubt, await call.run())
        except InDoubt as again:
            return in_doubt(doubt["capability"], task, again.message)
        except IdempotencyMismatch:  # somebody has edited the state since
            anew = replace(task, idempotency_key=key_anew(task.idempotency_key))
            return in_doubt(doubt["capability"], anew, CHANGED.format(capability=doubt["capability"]))

    return node


def _settled(doubt: Doubt, hop: Hop) -> RunState:
    return RunState(hops=[hop], doubts={doubt["step"]: None})
