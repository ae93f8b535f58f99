"""The guardian's view of agent.db: acts kept in the transaction that checks the run they are about."""

import asyncio
import logging
from collections.abc import Sequence

import apsw

from services.agent import custody
from services.agent.guardian import audit
from services.agent.guardian.audit import Act, Effect, Order, Verdict
from services.agent.guardian.audit_head import AuditHead
from services.agent.guardian.effects import state_name
from services.agent.run_rows import is_finished, is_live, load_run
from shared.errors import AlreadyExists
from shared.pb import agent_v1
from shared.storage.database import Database

logger = logging.getLogger(__name__)


class GuardianStore:
    """Reads and writes the audit log. Writes return after their commit."""

    def __init__(self, database: Database) -> None:
        self._database, self._head = database, AuditHead(database.path.parent)

    async def keep(self, order: Order) -> Act:
        """Record an act on a run that it is possible on, or return the one that its request id belongs to.

        Raises `NotFound` (run), `WrongState`, or `AlreadyExists` (the request id belongs to another act).
        """
        act = await self._database.write(lambda connection: keep_act(connection, order))
        await self.copy_head()
        return act

    async def note(self, act: Act, effect: Effect) -> None:
        """Record what became of an act."""
        await self._database.write(
            lambda connection: audit.append_effect(connection, act.order.run_id, act.entry, effect)
        )
        await self.copy_head()

    async def act(self, entry: int) -> Act:
        """The act at an entry, as it is now."""
        return self._database.read_here(lambda connection: audit.find_act(connection, entry))

    def acts_after(self, run_id: str, entry: int) -> list[Act]:
        """The acts on a run after an entry, oldest first."""
        return self._database.read_here(lambda connection: audit.acts_after(connection, run_id, entry))

    async def open_acts(self) -> list[Act]:
        """The acts of which nothing has become yet, oldest first."""
        return await self._database.read(audit.open_acts)

    async def page(self, run_id: str, before: int, limit: int) -> Sequence[Act]:
        """The newest acts before an entry, newest first; of one run, or of all."""
        return await self._database.read(lambda connection: audit.acts_before(connection, run_id, before, limit))

    async def verify(self) -> Verdict:
        """Compute the whole chain anew, and compare it with the head that was copied."""
        known = await asyncio.to_thread(self._head.read)
        return await self._database.read(lambda connection: audit.verify(connection, known))

    async def copy_head(self) -> None:
        """Let the file beside the store know the newest entry; never in place of one that the log lacks."""
        await asyncio.to_thread(self._copy_head)

    def _copy_head(self) -> None:
        known, now = self._head.read(), self._database.read_here(audit.head)
        if known and not self._database.read_here(lambda connection: audit.is_in(connection, known)):
            logger.error("the audit log has lost entry %d; `waystation audit verify` says more", known.entry)
            return
        try:
            if now and now != known:
                self._head.write(now)
        except OSError as error:
            logger.error("the newest entry of the audit log could not be copied: %s", error)


def keep_act(connection: apsw.Connection, order: Order) -> Act:
    """See `GuardianStore.keep`. Runs inside a transaction."""
    known = audit.find_request(connection, order.request_id) if order.request_id else None
    if known and known.order != order:
        raise AlreadyExists(f"Request id {order.request_id!r} belongs to another act.", act=known.act_id)
    if known:
        return known
    run = load_run(connection, order.run_id)
    wants_pause = bool(connection.execute("SELECT wants_pause FROM runs WHERE run_id = ?", (run.run_id,)).get)
    if not _is_possible(run, order.action, wants_pause):
        raise custody.wrong_state(run)
    act = audit.append_act(connection, order, state_name(run.state))
    if order.action == "pause":
        custody.ask_pause(connection, run.run_id)
    elif order.action == "resume" and is_live(run):
        _withdraw_pauses(connection, act)
    return act


def _is_possible(run: agent_v1.Run, action: str, wants_pause: bool) -> bool:
    match action:
        case "pause":
            return is_live(run)
        case "resume":
            return run.state == agent_v1.Run.STATE_PAUSED or (is_live(run) and wants_pause)
    return not is_finished(run)


def _withdraw_pauses(connection: apsw.Connection, resume: Act) -> None:
    """A run that is to go on before its pause took effect: the later act counts."""
    run_id, superseded = resume.order.run_id, Effect("superseded", {}, {"superseded_by": resume.act_id})
    for act in audit.open_acts(connection, run_id):
        if act.order.action == "pause":
            audit.append_effect(connection, run_id, act.entry, superseded)
    connection.execute("UPDATE runs SET wants_pause = 0 WHERE run_id = ?", (run_id,))
