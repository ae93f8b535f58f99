"""Messages as rows of agent.db. Every function runs inside a transaction."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
from google.protobuf.message import DecodeError

from shared.errors import StorageCorrupt
from shared.pb import common_v1
from shared.storage.sealed import seal, unseal

PENDING = common_v1.A2aMessage.STATE_PENDING
DELIVERED = common_v1.A2aMessage.STATE_DELIVERED
ACKNOWLEDGED = common_v1.A2aMessage.STATE_ACKNOWLEDGED
DEAD = common_v1.A2aMessage.STATE_DEAD_LETTERED

EXPIRED = "expired"
RUN_ENDED = "the run ended before its recipient's next hop"
DONE_AGAIN = "the hop that sent it was done again"


@dataclass(frozen=True)
class Place:
    """How far a run is, by its committed state."""

    hops: Collection[int]
    """The indexes of its hops, whose messages can be delivered."""
    cursors: Mapping[str, int]
    """Up to which position each role has been given its messages."""


_COLUMNS = "position, state, dead_reason, expire_ns, message"


def put(connection: apsw.Connection, run_id: str, message: common_v1.A2aMessage, dead_reason: str = "") -> None:
    """Store a message, which gets its sequence and state here.

    One whose id is known takes the place of the former one, as the message of a hop that is done again.
    """
    digest = content_digest(message)
    sql = "SELECT content_digest, recipient, sequence FROM messages WHERE run_id = ? AND message_id = ?"
    known: Any = connection.execute(sql, (run_id, message.message_id)).get
    if known and known[0] == digest:
        sql = "UPDATE messages SET state = ?, dead_reason = ? WHERE run_id = ? AND message_id = ?"
        connection.execute(sql, (DEAD if dead_reason else PENDING, dead_reason, run_id, message.message_id))
        return
    is_same_place = known and known[1] == message.recipient_role
    message.sequence = known[2] if is_same_place else _next_sequence(connection, run_id, message)
    connection.execute(
        """
        INSERT INTO messages (run_id, position, message_id, sender, recipient, sequence, hop_index, expire_ns, state,
                              dead_reason, content_digest, message)
        VALUES (?1, (SELECT coalesce(max(position), 0) + 1 FROM messages WHERE run_id = ?1),
                ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (run_id, message_id) DO UPDATE SET
            recipient = excluded.recipient, sequence = excluded.sequence, expire_ns = excluded.expire_ns,
            state = excluded.state, dead_reason = excluded.dead_reason, is_told = 0,
            content_digest = excluded.content_digest, message = excluded.message
        """,
        (
            run_id,
            message.message_id,
            message.sender_role,
            message.recipient_role,
            message.sequence,
            message.hop_index,
            message.expire_time.ToNanoseconds(),
            DEAD if dead_reason else PENDING,
            dead_reason,
            digest,
            seal(message.SerializeToString()),
        ),
    )


def find(connection: apsw.Connection, run_id: str, message_id: str, now_ns: int) -> common_v1.A2aMessage | None:
    """The run's message of this id, if there is one."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE run_id = ? AND message_id = ?"
    return next(_opened(connection.execute(sql, (run_id, message_id)), now_ns), None)


def content_digest(message: common_v1.A2aMessage) -> bytes:
    """Of what its sender has written; two messages of one id must agree in it."""
    content = common_v1.A2aMessage(
        sender_role=message.sender_role, recipient_role=message.recipient_role, in_reply_to=message.in_reply_to
    )
    content.payload.CopyFrom(message.payload)
    if message.HasField("expire_time"):
        content.expire_time.CopyFrom(message.expire_time)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def count(connection: apsw.Connection, run_id: str) -> int:
    """How many messages of the run are not dead letters."""
    sql = "SELECT count(*) FROM messages WHERE run_id = ? AND state != ?"
    return int(connection.execute(sql, (run_id, DEAD)).get)


def page(
    connection: apsw.Connection, run_id: str, after: int, limit: int, now_ns: int
) -> list[tuple[int, common_v1.A2aMessage]]:
    """The run's messages after a position, with their positions."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE run_id = ? AND position > ? ORDER BY position LIMIT ?"
    rows: list[Any] = connection.execute(sql, (run_id, after, limit)).fetchall()
    return list(zip((row[0] for row in rows), _opened(rows, now_ns), strict=True))


def delivered(
    connection: apsw.Connection, run_id: str, role: str, after: int, until: int
) -> list[common_v1.A2aMessage]:
    """What a role was given between two positions, in order."""
    sql = f"""
        SELECT {_COLUMNS} FROM messages
        WHERE run_id = ? AND recipient = ? AND position > ? AND position <= ? AND state = ? ORDER BY position
    """
    return list(_opened(connection.execute(sql, (run_id, role, after, until, DELIVERED)).fetchall(), 0))


def newest(connection: apsw.Connection, run_id: str, limit: int, now_ns: int) -> list[common_v1.A2aMessage]:
    """The run's last messages that are no dead letters, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE run_id = ? AND state != ? ORDER BY position DESC LIMIT ?"
    found = _opened(connection.execute(sql, (run_id, DEAD, limit)).fetchall(), now_ns)
    return [message for message in found if message.state != DEAD][::-1]


def untold(connection: apsw.Connection, run_id: str, now_ns: int) -> list[common_v1.A2aMessage]:
    """The run's messages of which no event has told."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE run_id = ? AND is_told = 0 ORDER BY position"
    return list(_opened(connection.execute(sql, (run_id,)).fetchall(), now_ns))


def note_told(connection: apsw.Connection, run_id: str, message_id: str) -> None:
    """An event that is stored in this transaction tells of the message."""
    connection.execute("UPDATE messages SET is_told = 1 WHERE run_id = ? AND message_id = ?", (run_id, message_id))


def acknowledge(connection: apsw.Connection, run_id: str, cursors: Mapping[str, int]) -> None:
    """Hops have been committed that were given their roles' messages up to these positions."""
    sql = "UPDATE messages SET state = ? WHERE run_id = ? AND recipient = ? AND state = ? AND position <= ?"
    rows = [(ACKNOWLEDGED, run_id, role, DELIVERED, position) for role, position in cursors.items()]
    connection.executemany(sql, rows)


def bury_sent(connection: apsw.Connection, run_id: str, hop_index: int) -> None:
    """Make dead letters of what earlier attempts of a hop have sent, which nobody has been given."""
    _bury(connection, DONE_AGAIN, "run_id = ? AND hop_index = ? AND state = ?", (run_id, hop_index, PENDING))


def bury_expired(connection: apsw.Connection, run_id: str, now_ns: int) -> None:
    """Make dead letters of what nobody has been given in time."""
    where = "run_id = ? AND state = ? AND expire_ns > 0 AND expire_ns <= ?"
    _bury(connection, EXPIRED, where, (run_id, PENDING, now_ns))


def close(connection: apsw.Connection, run_id: str, now_ns: int) -> None:
    """The run has ended: make dead letters of what nobody has been given."""
    bury_expired(connection, run_id, now_ns)
    _bury(connection, RUN_ENDED, "run_id = ? AND state = ?", (run_id, PENDING))


def copy(connection: apsw.Connection, run_id: str, into: str, place: Place, until_ns: int) -> None:
    """Give a fork the messages that its run had at a place of its history, as they were there."""
    sql = f"SELECT {_COLUMNS} FROM messages WHERE run_id = ? ORDER BY position"
    rows: list[Any] = connection.execute(sql, (run_id,)).fetchall()
    for row, message in zip(rows, _opened(rows, until_ns), strict=True):
        is_given = row[0] <= place.cursors.get(message.recipient_role, 0)
        was_outside = message.hop_index < 0 and message.create_time.ToNanoseconds() <= until_ns
        if not (is_given or was_outside or message.hop_index in place.hops):
            continue
        is_dead = message.state == DEAD and message.dead_letter_reason != RUN_ENDED
        state = DEAD if is_dead else ACKNOWLEDGED if is_given else PENDING
        connection.execute(
            """
            INSERT INTO messages SELECT ?, position, message_id, sender, recipient, sequence, hop_index, expire_ns,
                ?, ?, 0, content_digest, message FROM messages WHERE run_id = ? AND position = ?
            """,
            (into, state, message.dead_letter_reason if is_dead else "", run_id, row[0]),
        )


def delete(connection: apsw.Connection, run_ids: Iterable[str]) -> None:
    """Delete the messages of runs."""
    for run_id in run_ids:
        connection.execute("DELETE FROM messages WHERE run_id = ?", (run_id,))
        connection.execute("DELETE FROM deliveries WHERE run_id = ?", (run_id,))


def _bury(connection: apsw.Connection, reason: str, where: str, values: Sequence[Any]) -> None:
    connection.execute(f"UPDATE messages SET state = ?, dead_reason = ? WHERE {where}", (DEAD, reason, *values))


def _next_sequence(connection: apsw.Connection, run_id: str, message: common_v1.A2aMessage) -> int:
    sql = "SELECT coalesce(max(sequence), 0) + 1 FROM messages WHERE run_id = ? AND sender = ? AND recipient = ?"
    return int(connection.execute(sql, (run_id, message.sender_role, message.recipient_role)).get)


def _opened(rows: Iterable[Any], now_ns: int) -> Iterator[common_v1.A2aMessage]:
    for _, state, dead_reason, expire_ns, sealed in rows:
        try:
            message = common_v1.A2aMessage.FromString(unseal(sealed, "A message"))
        except DecodeError:
            raise StorageCorrupt("A message is damaged.", remedy="Restore the newest backup.") from None
        is_expired = state == PENDING and 0 < expire_ns <= now_ns
        message.state = DEAD if is_expired else state
        message.dead_letter_reason = EXPIRED if is_expired else dead_reason
        yield message
