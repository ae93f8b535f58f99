"""The step that does a hop: one call to a capability service."""

from dataclasses import dataclass, replace
from typing import Any, cast

from langgraph.runtime import Runtime

from services.agent.approvals import SCHEMA, denial, question, tool_question
from services.agent.guardian.routes import is_skipped
from services.agent.hop_call import HopCall
from services.agent.ports import HopTask, Node, Ports
from services.agent.question import ask
from services.agent.state import Doubt, RunContext, RunState
from services.agent.threads.conversation import told
from shared.call_context import current_call
from shared.capability import Artifact
from shared.capability.service import Effort
from shared.errors import ApprovalRequired, Cancelled, IdempotencyMismatch, InDoubt, WaystationError

SKIPPED = "A guardian left this call out."
SKIPPED_LATE = f"{SKIPPED} An earlier attempt had begun it, and its effect may have happened."
CHANGED = "An earlier attempt of this hop asked {capability} for something else, and its effect may have happened."
ANEW, APPROVED = "/anew", "/approved"
"""Ends of the keys of calls that ask for something else than the attempt before: it was another task, or unapproved."""
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

    A call that fails is a hop that failed. One that somebody must decide about is put into `doubts`.
    """

    async def node(state: RunState, runtime: Runtime[RunContext]) -> RunState:
        run_context, capability = runtime.context, step.capability or state["decision"]["capability"]
        # a hop that an earlier attempt began keeps its key, whatever became of the checkpoint it began from
        begun = run_context.open_hops.get(len(state["hops"]) + step.offset, "")
        # may end the step here until there is an answer
        if refusal := _refusal(ports, state, step, capability, is_begun=bool(begun)):
            return RunState(hops=[HopCall(ports, run_context, capability, hop_task(state, step, "")).give_up(refusal)])
        task = hop_task(state, step, begun or effect_key(), may_have_run=bool(begun))
        return await attempt(ports, run_context, capability, task)

    return node


async def attempt(
    ports: Ports, run_context: RunContext, capability: str, task: HopTask, *, is_final: bool = False
) -> RunState:
    """Make the call; returns the update with its hop, or with what somebody must decide first.

    A call that an earlier attempt made otherwise is made anew where that does no harm, unless this one `is_final`.
    """
    try:
        return RunState(hops=[await HopCall(ports, run_context, capability, task).run()])
    except InDoubt as in_doubt:
        return RunState(doubts={task.step: _doubt(capability, task, in_doubt.message)})
    except ApprovalRequired as wanted:
        return RunState(doubts={task.step: _wish(capability, task, wanted)})
    except IdempotencyMismatch:
        anew = replace(task, idempotency_key=f"{task.idempotency_key}{ANEW}", may_have_run=False)
        if is_final or not ports.directory.is_idempotent(capability):
            changed = CHANGED.format(capability=capability)
            return RunState(doubts={task.step: _doubt(capability, anew, changed)})
        return await attempt(ports, run_context, capability, anew, is_final=True)


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


def _doubt(capability: str, task: HopTask, message: str) -> Doubt:
    doubt = Doubt(
        index=task.hop_index,
        step=task.step,
        role=task.role,
        capability=capability,
        key=task.idempotency_key,
        message=message,
    )
    if task.approved_tool_calls:
        doubt["approved"] = list(task.approved_tool_calls)
    return doubt


def _wish(capability: str, task: HopTask, wanted: ApprovalRequired) -> Doubt:
    facts, before = wanted.metadata, len(task.approved_tool_calls)
    question = tool_question(capability, facts["tool"], facts.get("arguments", "not told"), before)
    doubt = _doubt(capability, replace(task, idempotency_key=f"{task.idempotency_key}{APPROVED}"), question)
    doubt["wanted"] = facts["digest"]
    return doubt


def effect_key() -> str:
    """A key for the step's next effect."""
    call_context = current_call()
    keys = call_context.effect_keys if call_context else None
    return keys.next("hop") if keys else ""


def _context(state: RunState, end: int) -> tuple[Artifact, ...]:
    """What the thread remembers, and the work of the run's first hops, as artifacts."""
    turns = "\n\n".join(told(turn, MAX_TURN_CHARS) for turn in state.get("conversation", []))
    items = [Artifact("conversation", "conversation", "thread", "text/plain", turns)] if turns else []
    items += [Artifact(**cast(Any, artifact)) for hop in state["hops"][:end] for artifact in hop["artifacts"]]
    for hop in state["hops"][:end]:
        if hop["text"]:
            items.append(Artifact(f"result-{hop['index']}", "result", hop["capability"], "text/plain", hop["text"]))
    return tuple(items)
