"""The step that does a hop: one call to a capability service."""

from typing import Any, Literal, cast

from langgraph.runtime import Runtime

from services.agent.hop_call import HopCall
from services.agent.ports import HopTask, Node, Ports
from services.agent.state import Doubt, Hop, RunContext, RunState
from shared.call_context import current_call
from shared.capability import Artifact
from shared.errors import IdempotencyMismatch, InDoubt

CHANGED = "An earlier attempt of this hop asked {capability} for something else, and its effect may have happened."


def call_capability(ports: Ports, timeout_s: float) -> Node:
    """Build the node: it appends to `hops` and takes one from `remaining_hops`.

    A call that fails is a hop that failed. One that may have had its effect, and nobody knows, is put into `doubt`.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context, capability = runtime.context, state["decision"]["capability"]
        # a hop that an earlier attempt began keeps its key, whatever became of the checkpoint it began from
        begun = run_context.open_hop_key if run_context.open_hop_index == len(state["hops"]) else ""
        task = hop_task(state, timeout_s, begun or effect_key(), may_have_run=bool(begun))
        try:
            hop = await HopCall(ports, run_context, capability, task).run()
        except InDoubt as doubt:
            return RunState(doubt=Doubt(capability=capability, key=task.idempotency_key, message=doubt.message))
        except IdempotencyMismatch:
            if not ports.directory.is_idempotent(capability):
                changed = CHANGED.format(capability=capability)
                return RunState(doubt=Doubt(capability=capability, key=effect_key(), message=changed))
            anew = hop_task(state, timeout_s, effect_key())
            hop = await HopCall(ports, run_context, capability, anew).run()
        return hop_done(state, hop)

    return node


def after_call(state: RunState) -> Literal["settle_doubt", "decide_next"]:
    """Where a call leads."""
    return "settle_doubt" if state.get("doubt") else "decide_next"


def hop_done(state: RunState, hop: Hop) -> RunState:
    """The update of a hop that has come to an end."""
    return RunState(hops=[*state["hops"], hop], remaining_hops=state["remaining_hops"] - 1, doubt=None)


def hop_task(
    state: RunState, timeout_s: float, key: str, *, may_have_run: bool = False, repeats_in_doubt: bool = False
) -> HopTask:
    """What the next hop is to do."""
    return HopTask(
        text=state["query"],
        effort=state["effort"],
        idempotency_key=key,
        hop_index=len(state["hops"]),
        remaining_hops=state["remaining_hops"] - 1,
        timeout_s=timeout_s,
        context=_context(state),
        may_have_run=may_have_run,
        repeats_in_doubt=repeats_in_doubt,
    )


def effect_key() -> str:
    """A key for the step's next effect."""
    call_context = current_call()
    keys = call_context.effect_keys if call_context else None
    return keys.next("hop") if keys else ""


def _context(state: RunState) -> tuple[Artifact, ...]:
    """Earlier work of the run, and the last turns of the thread, as artifacts."""
    items = [Artifact(**cast(Any, artifact)) for hop in state["hops"] for artifact in hop["artifacts"]]
    for number, hop in enumerate(state["hops"]):
        if hop["text"]:
            items.append(Artifact(f"result-{number}", "result", hop["capability"], "text/plain", hop["text"]))
    return tuple(items)
