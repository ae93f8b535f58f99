"""Acts on runs from outside: checked, recorded, then done. Knows no gRPC."""

import asyncio
import json
import logging
import unicodedata
import weakref
from collections.abc import Callable, Collection, Sequence

from services.agent.guardian.audit import Act, Effect, Order, Verdict
from services.agent.guardian.effects import acted
from services.agent.guardian.store import GuardianStore
from services.agent.ports import Directory, Events
from services.agent.runs import Runs
from services.agent.state import initial_state
from services.agent.state_edit import checked_updates
from shared.errors import InvalidInput, NotFound, WaystationError, WrongState
from shared.pb import agent_v1

logger = logging.getLogger(__name__)

STATE_ACTIONS = ("pause", "resume", "cancel")
MAX_ID_CHARS = 128
MAX_REASON_CHARS = 2_000
MAX_CHANGE_BYTES = 65_536


class Guardian:
    """Belongs to one event loop. `steps_of` names the steps that a workflow can skip, `max_hops_of` its budget.

    `decides` says whether it has a step that decides whom to call.
    """

    def __init__(
        self,
        store: GuardianStore,
        runs: Runs,
        events: Events,
        directory: Directory,
        steps_of: Callable[[str], Collection[str]],
        max_hops_of: Callable[[str], int],
        decides: Callable[[str], bool],
    ) -> None:
        self._store, self._runs, self._events, self._directory = store, runs, events, directory
        self._steps_of, self._max_hops_of, self._decides = steps_of, max_hops_of, decides
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[Act]] = set()

    async def intervene(self, order: Order) -> tuple[Act, agent_v1.Run]:
        """Record an act and do it; returns it and its run as they are then.

        Pause, resume and cancel are done through `Runs`; an override waits for the run's next step, which of a run
        that waits for somebody is the one after it goes on. Asked for again under its request id it is the same act.
        Raises `InvalidInput`, `Forbidden` (protected field), `NotFound` (run, capability, step), `WrongState`,
        `AlreadyExists` (the request id belongs to another act), and what resuming and cancelling raise.
        """
        await self._check(order)
        # whoever asked may leave meanwhile
        task = asyncio.create_task(self._do(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        act = await asyncio.shield(task)
        return act, await self._runs.get(order.run_id)

    async def finish(self) -> None:
        """Do what was recorded and not done when an earlier life of the process ended; pauses have been done by then.

        Of acts that contradict each other the newest counts.
        """
        for act in await self._store.open_acts():
            run_id, action = act.order.run_id, act.order.action
            newer = [each for each in self._store.acts_after(run_id, act.entry) if each.order.action in STATE_ACTIONS]
            if newer and action in STATE_ACTIONS:
                await self._store.note(act, Effect("superseded", {}, {"superseded_by": newer[-1].act_id}))
            elif action in ("resume", "cancel"):
                try:
                    await self._perform(act)
                except WaystationError as error:
                    logger.error("%s of run %s failed: %s", act.act_id, run_id, error)

    async def page(self, run_id: str, before: int, limit: int) -> Sequence[Act]:
        """The newest acts before an entry, newest first; of one run, or of all. Raises `NotFound`."""
        acts = await self._store.page(run_id, before, limit)
        if run_id and not acts:
            await self._runs.get(run_id)
        return acts

    async def verify(self) -> Verdict:
        """Check the whole audit log."""
        return await self._store.verify()

    async def _do(self, order: Order) -> Act:
        async with self._locks.setdefault(order.run_id, asyncio.Lock()):  # acts are done in the order of the log
            act = await self._store.keep(order)
            await self._perform(act)
            return await self._store.act(act.entry)

    async def _perform(self, act: Act) -> None:
        order = act.order
        try:
            if act.effect:
                return
            if order.action == "pause":
                await self._runs.pause(order.run_id)
            elif order.action == "resume" and await self._runs.withdraw_pause(order.run_id):
                await self._tell(act)
            elif order.action == "resume":
                await self._runs.resume(order.run_id)
            elif order.action == "cancel":
                await self._runs.cancel(order.run_id, f"{order.actor}: {order.reason}")
        except WaystationError as error:
            await self._store.note(act, Effect("failed", {}, {"error": error.message}))
            raise

    async def _tell(self, act: Act) -> None:
        """A run that never stopped has gone on."""
        state = {"state": act.run_state}
        await asyncio.wrap_future(self._events.emit(act.order.run_id, acted(act, state, state)))

    async def _check(self, order: Order) -> None:
        check_text("actor", order.actor, MAX_ID_CHARS)
        check_text("reason", order.reason, MAX_REASON_CHARS)
        if len(order.request_id) > MAX_ID_CHARS:
            raise InvalidInput(
                f"request_id is longer than {MAX_ID_CHARS} characters.", field="request_id", limit=MAX_ID_CHARS
            )
        size = len(json.dumps(dict(order.change)))
        if size > MAX_CHANGE_BYTES:
            raise InvalidInput(
                f"The change has {size} bytes; {MAX_CHANGE_BYTES} are possible.", field="state", limit=MAX_CHANGE_BYTES
            )
        run = await self._runs.get(order.run_id)
        match order.action:
            case "set_state":
                max_hops = self._max_hops_of(run.workflow)
                checked_updates(order.change, initial_state("", "medium", max_hops), max_hops)
            case "force_capability" | "veto_capability":
                known = [service.name for service in self._directory.services()]
                _check_known("capability", order.change["capability"], known)
                self._check_decides(run.workflow)
            case "skip_step":
                _check_known("step to skip", order.change["step"], self._steps_of(run.workflow))

    def _check_decides(self, workflow: str) -> None:
        """What no step reads would never take effect."""
        if not self._decides(workflow):
            steps = ", ".join(sorted(self._steps_of(workflow))) or "none"
            raise WrongState(
                f"The workflow {workflow} decides nothing: its services can be neither forced nor vetoed.",
                remedy=f"Skip a step that calls ({steps}), or cancel the run and start one of `auto`.",
                workflow=workflow,
            )


def check_text(field: str, text: str, max_chars: int) -> None:
    """Raise `InvalidInput` for a text that is empty, too long, or has control characters."""
    if not text.strip() or len(text) > max_chars:
        raise InvalidInput(f"{field} must have 1 to {max_chars} characters of text.", field=field, limit=max_chars)
    if any(unicodedata.category(each) in ("Cc", "Cs") and each not in "\t\n" for each in text):
        raise InvalidInput(f"{field} has control characters.", remedy="Send text.", field=field)


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise NotFound(
            f"There is no {what} {name[:MAX_ID_CHARS]!r}.", remedy=f"There are: {', '.join(sorted(known)) or 'none'}."
        )
