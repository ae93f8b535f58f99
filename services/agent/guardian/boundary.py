"""Where overrides take effect: before a step runs, once, in the checkpoint of that step."""

import asyncio

from services.agent.guardian.audit import Effect
from services.agent.guardian.effects import acted, record_in_trace
from services.agent.guardian.overrides import Override, apply, overruled
from services.agent.guardian.store import GuardianStore
from services.agent.ports import Events
from services.agent.state import RunContext, RunState

OVERRIDES = ("set_state", "force_capability", "veto_capability", "skip_step")


class GuardianBoundary:
    """A `StepBoundary`. The state says up to which entry it has the run's acts (`guardian_entry`).

    So a step that is done again after a crash begins from the same acts and the same state, and one that has its
    checkpoint never sees them again. `max_hops` bounds what an override may set.
    """

    def __init__(self, store: GuardianStore, events: Events, max_hops: int) -> None:
        self._store, self._events, self._max_hops = store, events, max_hops
        self._lock = asyncio.Lock()
        """Steps that run at once tell of an act once."""

    async def enter(self, step: str, state: RunState, run_context: RunContext) -> RunState:
        """The changes that overrides make to the state."""
        acts = self._store.acts_after(run_context.run_id, state.get("guardian_entry", 0))
        if (asked := run_context.asked_entry) is not None:  # the answer is about what was asked: later acts wait
            acts = [act for act in acts if act.entry <= asked]
        if not acts:
            return RunState()
        overrides = [act for act in acts if act.order.action in OVERRIDES]
        losers = overruled(overrides)
        changes = RunState(guardian_entry=acts[-1].entry)
        async with self._lock:
            for act in overrides:
                if winner := losers.get(act.entry):
                    await self._store.note(act, Effect("superseded", {}, {"superseded_by": winner.act_id}))
                    continue
                beaten = [loser.act_id for loser in overrides if losers.get(loser.entry) is act]
                override = apply(act, state | changes, beaten, self._max_hops)
                changes |= override.changes
                await self._tell(override, run_context.run_id)
        return changes

    async def _tell(self, override: Override, run_id: str) -> None:
        act = await self._store.act(override.act.entry)
        if override.error:
            await self._store.note(act, Effect("failed", override.before, override.after))
            return
        if act.effect and (act.effect.before, act.effect.after) == (override.before, override.after):
            return  # an attempt of this step that has no checkpoint has told it
        payload = acted(act, override.before, override.after)
        record_in_trace(payload)
        await asyncio.wrap_future(self._events.emit(run_id, payload))
        await self._store.copy_head()
