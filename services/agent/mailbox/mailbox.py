"""The mail of all runs: takes messages from hops and from outside, hands them out, and says what became of them."""

import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import accumulate

import apsw
from opentelemetry import trace

from services.agent.custody import wrong_state
from services.agent.mailbox import rows
from services.agent.mailbox.delivery import Delivery, Recipient, deliver, place_of
from services.agent.mailbox.limits import (
    MAX_ID_CHARS,
    MAX_MESSAGES,
    MAX_PAGE_BYTES,
    OUTSIDE,
    check_content,
    check_place,
    payload_problem,
    role_problem,
)
from services.agent.run_events import RunEvents
from services.agent.run_rows import is_finished, load_run
from services.agent.state import Hop, RunContext, RunState
from shared.capability import OutgoingMessage
from shared.capability.wire import output_to_proto
from shared.errors import AlreadyExists, LimitExceeded
from shared.fault_points import fault_point
from shared.pb import agent_v1, common_v1
from shared.storage.database import Database

Roles = Callable[[agent_v1.Run], Collection[str]]
"""The roles that can get messages in a run."""


class Mailbox:
    """Messages in agent.db and their events. Belongs to one event loop; a `StepBoundary` of every workflow."""

    def __init__(self, database: Database, events: RunEvents, roles: Roles) -> None:
        self._database, self._events, self._roles = database, events, roles
        self._being_told: set[tuple[str, str]] = set()

    async def send(self, run_id: str, message: common_v1.A2aMessage, correlation_id: str) -> common_v1.A2aMessage:
        """Put a message from outside into the mailbox of a role; sent again under its id it is the same message.

        Raises `NotFound` (run, role), `WrongState` (the run has ended), `InvalidInput`, `LimitExceeded` (the mailbox is
        full), or `AlreadyExists` (the id belongs to another message).
        """
        check_content(message)
        sent = _from_outside(message, correlation_id)

        def work(connection: apsw.Connection) -> common_v1.A2aMessage:
            run, now_ns = load_run(connection, run_id), time.time_ns()
            known = rows.find(connection, run_id, sent.message_id, now_ns)
            if known:
                return _same(known, sent)
            if is_finished(run):
                raise wrong_state(run)
            check_place(sent, self._roles(run), now_ns)
            if rows.count(connection, run_id) >= MAX_MESSAGES:
                raise LimitExceeded(f"Run {run_id} has {MAX_MESSAGES} messages.", run_id=run_id, limit=MAX_MESSAGES)
            rows.put(connection, run_id, sent)
            return rows.find(connection, run_id, sent.message_id, now_ns) or sent

        stored = await self._database.write(work)
        fault_point("after_record")
        self._tell(run_id)
        return stored

    def deliver(self, recipient: Recipient, hops: Sequence[Hop]) -> "Future[Delivery]":
        """Give a hop that is about to be made the messages for its role; `hops` are those before it."""
        place = place_of(hops)
        return self._database.submit(lambda connection: deliver(connection, recipient, place, time.time_ns()))

    async def keep_sent(
        self, sender: Recipient, run_context: RunContext, outgoing: Sequence[OutgoingMessage], failure: str = ""
    ) -> None:
        """Store what a hop has sent; it can be delivered once the hop is committed.

        A hop that is done again stores the same rows. What cannot be delivered, and all of a hop with a `failure`,
        becomes a dead letter at once.
        """
        messages = [_from_hop(item, number, sender, run_context) for number, item in enumerate(outgoing)]

        def work(connection: apsw.Connection) -> None:
            roles, room = self._roles(load_run(connection, sender.run_id)), MAX_MESSAGES
            room -= rows.count(connection, sender.run_id)
            for message in messages:
                problem = payload_problem(message.payload)
                if problem:
                    message.payload.Clear()
                problem = problem or role_problem(message.recipient_role, roles)
                problem = failure or problem or ("" if room > 0 else f"the run has {MAX_MESSAGES} messages")
                rows.put(connection, sender.run_id, message, problem)
                room -= not problem

        if messages:
            await self._database.write(work)
            fault_point("after_record")
            self._tell(sender.run_id)

    def recent(self, run_id: str, limit: int) -> list[common_v1.A2aMessage]:
        """The run's last messages, oldest first; dead letters are left out."""
        now_ns = time.time_ns()
        return self._database.read_here(lambda connection: rows.newest(connection, run_id, limit, now_ns))

    async def page(self, run_id: str, after: int, limit: int) -> tuple[list[common_v1.A2aMessage], int]:
        """The run's messages after a position, and the position to go on from; 0 at the end. Raises `NotFound`."""

        def work(connection: apsw.Connection) -> list[tuple[int, common_v1.A2aMessage]]:
            load_run(connection, run_id)
            return rows.page(connection, run_id, after, limit + 1, time.time_ns())

        found = await self._database.read(work)
        sizes = accumulate(message.ByteSize() for _, message in found)
        count = min(limit, max(1, sum(size <= MAX_PAGE_BYTES for size in sizes)))
        end = found[count - 1][0] if len(found) > count else 0
        return [message for _, message in found[:count]], end

    async def enter(self, step: str, state: RunState, run_context: RunContext) -> RunState:
        """See `StepBoundary.enter`: what the committed state says of messages is noted. It changes no state."""
        self._tell(run_context.run_id)
        self.acknowledge(run_context.run_id, state.get("hops", ()))
        return RunState()

    def acknowledge(self, run_id: str, hops: Sequence[Hop]) -> None:
        """Note which messages these committed hops were given; what fails to be noted is noted at the next step."""
        cursors = {role: position for role, position in place_of(hops).cursors.items() if position}
        if cursors:
            self._database.submit(lambda connection: rows.acknowledge(connection, run_id, cursors))

    def _tell(self, run_id: str) -> None:
        """Emit an event for each message that has none, unless nobody drives the run: then its next step does."""
        if not self._events.is_open(run_id):
            return
        for message in self._database.read_here(lambda connection: rows.untold(connection, run_id, time.time_ns())):
            told = (run_id, message.message_id)
            if told not in self._being_told:
                self._being_told.add(told)
                stored = self._events.emit(run_id, agent_v1.MessageSent(message=message))
                stored.add_done_callback(partial(self._forget, told))

    def _forget(self, told: tuple[str, str], stored: "Future[None]") -> None:
        self._being_told.discard(told)


def _from_outside(message: common_v1.A2aMessage, correlation_id: str) -> common_v1.A2aMessage:
    sent = common_v1.A2aMessage(
        message_id=message.message_id or f"message-{uuid.uuid4().hex}",
        sender_role=message.sender_role or OUTSIDE,
        recipient_role=message.recipient_role,
        hop_index=-1,
        correlation_id=message.correlation_id or correlation_id,
        trace_id=_trace_id(),
        in_reply_to=message.in_reply_to,
    )
    sent.payload.CopyFrom(message.payload)
    if message.HasField("expire_time"):
        sent.expire_time.CopyFrom(message.expire_time)
    sent.create_time.GetCurrentTime()
    return sent


def _from_hop(
    outgoing: OutgoingMessage, number: int, sender: Recipient, run_context: RunContext
) -> common_v1.A2aMessage:
    message = output_to_proto(outgoing).message
    message.message_id = f"{sender.hop_key}/message/{number}"
    message.sender_role, message.hop_index = sender.role, sender.hop_index
    message.correlation_id, message.trace_id = run_context.correlation_id, _trace_id()
    message.in_reply_to = message.in_reply_to[:MAX_ID_CHARS]
    message.create_time.GetCurrentTime()
    return message


def _same(known: common_v1.A2aMessage, sent: common_v1.A2aMessage) -> common_v1.A2aMessage:
    if rows.content_digest(known) != rows.content_digest(sent):
        raise AlreadyExists(
            f"Message id {sent.message_id!r} belongs to another message of the run.",
            remedy="Use another message_id.",
            message_id=sent.message_id,
        )
    return known


def _trace_id() -> str:
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else ""
