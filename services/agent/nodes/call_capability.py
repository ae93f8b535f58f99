"""The step that does a hop: one call to a capability service."""

from dataclasses import dataclass
from typing import Any, cast

from langgraph.runtime import Runtime

from services.agent.approvals import SCHEMA, denial, question
from services.agent.guardian.routes import is_skipped
from services.agent.hop_call import HopCall
from services.agent.ports import HopTask, Node, Ports
from services.agent.question import ask
from services.agent.state import Doubt, RunContext, RunState
from services.agent.threads.conversation import told
from shared.call_context import current_call
from shared.capability import Artifact
from shared.capability.service import Effort
from shared.errors import Cancelled, IdempotencyMismatch, InDoubt, WaystationError

SKIPPED = "A guardian left this call out."
SKIPPED_LATE = f"{SKIPPED} An earlier attempt had begun it, and its effect may have happened."
CHANGED = "An earlier attempt of this hop asked {capability} for something else, and its effect may have happened."
MAX_TURN_CHARS = 1_000
"""Of each side of an earlier turn, what a service is told."""


@dataclass(frozen=True)
class CallStep:
    """How a step of a workflow calls."""

    name: str
    timeout_s: float
    capability: str = ""
    """Empty for what the arbitrator decided on."""
    role: str = ""
    """What it acts as; empty for the decided role, or the capability's name."""
    effort: Effort | None = None
    """None for the run's."""
    offset: int = 0
    """Its place among the calls that run at once."""
    group_size: int = 1
    """How many calls run at once."""


def call_capability(ports: Ports, step: CallStep) -> Node:
    """Build the node: it adds to `hops`.

    A call that fails is a hop that failed. One that may have had its effect, and nobody knows, is put into `doubts`.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context, capability = runtime.context, step.capability or state["decision"]["capability"]
        # a hop that an earlier attempt began keeps its key, whatever became of the checkpoint it began from
        begun = run_context.open_hops.get(len(state["hops"]) + step.offset, "")
        # may end the step here until there is an answer
        if refusal := _refusal(ports, state, step, capability, is_begun=bool(begun)):
            return RunState(hops=[HopCall(ports, run_context, capability, hop_task(state, step, "")).give_up(refusal)])
        task = hop_task(state, step, begun or effect_key(), may_have_run=bool(begun))
        try:
            hop = await HopCall(ports, run_context, capability, task).run()
        except InDoubt as doubt:
            return in_doubt(capability, task, doubt.message)
        except IdempotencyMismatch:
            anew = hop_task(state, step, key_anew(task.idempotency_key))
            if not ports.directory.is_idempotent(capability):
                return in_doubt(capability, anew, CHANGED.format(capability=capability))
            hop = await HopCall(ports, run_context, capability, anew).run()
        return RunState(hops=[hop])

    return node


def _refusal(
    ports: Ports, state: RunState, step: CallStep, capability: str, *, is_begun: bool
) -> WaystationError | None:
    """Why the call is not made: a guardian left it out, or somebody who must approve it does not."""
    role, is_idempotent = _role(state, step), ports.directory.is_idempotent(capability)
    if is_skipped(state, step.name):
        return Cancelled(SKIPPED_LATE if is_begun and not is_idempotent else SKIPPED)
    if not ports.approvals.is_needed(capability, role, is_idempotent=is_idempotent):
        return None
    return denial(ask(state, question(capability, role, state["query"]), "policy", SCHEMA))


def _role(state: RunState, step: CallStep) -> str:
    return step.role or ("" if step.capability else state["decision"].get("role", ""))


def hop_task(
    state: RunState, step: CallStep, key: str, *, index: int | None = None, may_have_run: bool = False
) -> HopTask:
    """What the hop is to do: the next one, or the one with an index, which is told what it was told before."""
    first = len(state["hops"]) if index is None else index - step.offset
    return HopTask(
        text=state["query"],
        effort=step.effort or state["effort"],
        step=step.name,
        role=_role(state, step),
        idempotency_key=key,
        hop_index=first + step.offset,
        remaining_hops=max(0, state["max_hops"] - first - step.group_size),
        current_cycle=state["current_cycle"],
        remaining_cycles=state["max_cycles"] - state["current_cycle"],
        timeout_s=step.timeout_s,
        context=_context(state, first),
        earlier=tuple(state["hops"][:first]),
        may_have_run=may_have_run,
    )


def in_doubt(capability: str, task: HopTask, message: str) -> RunState:
    """The update of a call that may have had its effect."""
    doubt = Doubt(
        index=task.hop_index,
        step=task.step,
        role=task.role,
        capability=capability,
        key=task.idempotency_key,
        message=message,
    )
    return RunState(doubts={task.step: doubt})


def effect_key() -> str:
    """A key for the step's next effect."""
    call_context = current_call()
    keys = call_context.effect_keys if call_context else None
    return keys.next("hop") if keys else ""


def key_anew(key: str) -> str:
    """The key of a call that asks for something else than the attempt whose key this is."""
    return f"{key}/anew"


def _context(state: RunState, end: int) -> tuple[Artifact, ...]:
    """What the thread remembers, and the work of the run's first hops, as artifacts."""
    turns = "\n\n".join(told(turn, MAX_TURN_CHARS) for turn in state.get("conversation", []))
    items = [Artifact("conversation", "conversation", "thread", "text/plain", turns)] if turns else []
    items += [Artifact(**cast(Any, artifact)) for hop in state["hops"][:end] for artifact in hop["artifacts"]]
    for hop in state["hops"][:end]:
        if hop["text"]:
            items.append(Artifact(f"result-{hop['index']}", "result", hop["capability"], "text/plain", hop["text"]))
    return tuple(items)
