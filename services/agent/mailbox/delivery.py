"""Gives a hop the messages for its role, the same ones however often the hop is done again.

What was given counts as soon as the hop is in the committed state, and not before: the hop's `mail_position` is the
role's cursor from then on. What a hop sends can be delivered when its own index is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from services.agent.mailbox import rows
from services.agent.mailbox.limits import MAX_INBOX, MAX_INBOX_BYTES
from services.agent.mailbox.rows import DELIVERED, PENDING, Place
from services.agent.state import Hop
from shared.pb import common_v1


@dataclass(frozen=True)
class Recipient:
    """A hop that is about to be made."""

    run_id: str
    role: str
    hop_index: int
    hop_key: str
    """The hop's idempotency key; a hop that is done again has the same one, or begins anew; "" is never done again."""


@dataclass(frozen=True)
class Delivery:
    """What a hop is given."""

    messages: Sequence[common_v1.A2aMessage]
    position: int
    """Up to where the role has its messages then."""


def place_of(hops: Sequence[Hop]) -> Place:
    """How far the mail is with these hops. One that failed has not had its messages."""
    cursors: dict[str, int] = {}
    for hop in hops:
        if not hop["error"]:
            cursors[hop["role"]] = max(hop["mail_position"], cursors.get(hop["role"], 0))
    return Place(frozenset(hop["index"] for hop in hops), cursors)


def deliver(connection: apsw.Connection, recipient: Recipient, place: Place, now_ns: int) -> Delivery:
    """Give the hop its messages, in order. Runs inside a transaction."""
    run_id, cursor = recipient.run_id, place.cursors.get(recipient.role, 0)
    sql = "SELECT position FROM deliveries WHERE run_id = ? AND hop_key = ?"
    end: Any = connection.execute(sql, (run_id, recipient.hop_key)).get
    rows.bury_sent(connection, run_id, recipient.hop_index)
    if end is None:
        rows.bury_expired(connection, run_id, now_ns)
        end = _choose(connection, recipient, place)
        if recipient.hop_key:
            connection.execute("INSERT INTO deliveries VALUES (?, ?, ?)", (run_id, recipient.hop_key, end))
    return Delivery(rows.delivered(connection, run_id, recipient.role, cursor, end), max(cursor, end))


def _choose(connection: apsw.Connection, recipient: Recipient, place: Place) -> int:
    """Mark what the hop is given; returns up to where that goes."""
    sql = """
        SELECT position, hop_index, length(message) FROM messages
        WHERE run_id = ? AND recipient = ? AND position > ? AND state IN (?, ?) ORDER BY position
    """
    end = place.cursors.get(recipient.role, 0)
    values = (recipient.run_id, recipient.role, end, PENDING, DELIVERED)
    found: list[Any] = connection.execute(sql, values).fetchall()
    chosen: list[tuple[int, str, int]] = []
    size = 0
    for position, hop_index, length in found:
        size += length
        # what is behind a message that has to wait waits too: messages come in order
        is_early = hop_index >= 0 and hop_index not in place.hops
        if is_early or len(chosen) == MAX_INBOX or (chosen and size > MAX_INBOX_BYTES):
            break
        chosen.append((DELIVERED, recipient.run_id, position))
        end = position
    connection.executemany("UPDATE messages SET state = ? WHERE run_id = ? AND position = ?", chosen)
    return end
