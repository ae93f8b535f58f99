"""A thread as others see it: its runs as turns, and what of each the next run will be told."""

from collections.abc import Sequence

from services.agent.state import Turn
from services.agent.threads.conversation import is_kept
from shared.pb import agent_v1

_Thread = agent_v1.Thread


def thread_to_proto(runs: Sequence[agent_v1.Run], conversation: Sequence[Turn], budget_tokens: int) -> agent_v1.Thread:
    """The thread of these runs, oldest first. Runs that have no answer are no turns; there is at least one run."""
    remembered = {turn.get("run_id", ""): turn for turn in conversation}
    thread = agent_v1.Thread(
        thread_id=runs[0].thread_id,
        tenant=runs[0].tenant,
        create_time=runs[0].create_time,
        update_time=runs[-1].update_time,
        context_budget_tokens=budget_tokens,
    )
    for run in runs:
        if run.state == agent_v1.Run.STATE_SUCCEEDED:
            thread.turns.append(_turn(run, remembered.get(run.run_id)))
    return thread


def _turn(run: agent_v1.Run, turn: Turn | None) -> agent_v1.Thread.Turn:
    message = _Thread.Turn(run_id=run.run_id, query=run.query, answer=run.answer, treatment=_Thread.TREATMENT_DROPPED)
    if turn:
        message.treatment = _Thread.TREATMENT_KEPT if is_kept(turn) else _Thread.TREATMENT_SUMMARIZED
        message.summary = turn.get("summary", "")
    return message
