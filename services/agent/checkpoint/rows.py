"""Checkpoints and pending writes as rows: put behind the fence, checked when they are read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import apsw
import ormsgpack

from services.agent.checkpoint.encoding import Damage, Fetch, Node, digest_of, is_damaged
from services.agent.checkpoint.ownership import check_epoch
from shared.errors import AlreadyExists, StaleEpoch, StorageCorrupt

NODES = "nodes"
"""The type of a body whose channel values are nodes; any other is the stock saver's, a whole serialized checkpoint."""
COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_id, run_id, metadata, type, body, digest"

_STORED = "SELECT 1 FROM thread_checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 AND checkpoint_id = ?3"
_HEAD = "SELECT checkpoint_id FROM thread_checkpoints WHERE thread_id = ?1 AND checkpoint_ns = ?2 ORDER BY seq DESC"
_PUT = f"""
    INSERT INTO thread_checkpoints ({COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
    WHERE (?10 IS NULL OR ?10 = (SELECT epoch FROM threads WHERE thread_id = ?1))
    AND CASE WHEN ?11 THEN NOT EXISTS ({_STORED}) ELSE ?4 IS ({_HEAD} LIMIT 1) END
"""
_PUT_WRITES = """
    INSERT INTO thread_writes SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE ?8 IS NULL OR ?8 = (SELECT epoch FROM threads WHERE thread_id = ?1)
    ON CONFLICT DO NOTHING
"""
_STORED_DIGEST = "SELECT digest FROM thread_checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_STORED_WRITES = "FROM thread_writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint as it is stored. `digest` covers all the rest."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    parent_id: str | None
    run_id: str | None
    metadata: str
    """JSON."""
    type: str
    body: bytes
    digest: bytes

    @classmethod
    def of(cls, texts: tuple[str, str, str, str | None, str | None, str, str], body: bytes) -> "CheckpointRow":
        """The row of `body`; `texts` are all that comes before it."""
        return cls(*texts, body, _row_digest(texts, body))

    @property
    def texts(self) -> tuple[str, str, str, str | None, str | None, str, str]:
        """All that comes before the body."""
        ids = (self.thread_id, self.checkpoint_ns, self.checkpoint_id, self.parent_id, self.run_id)
        return (*ids, self.metadata, self.type)

    @property
    def columns(self) -> tuple[str | bytes | None, ...]:
        """All of it, in the order of `COLUMNS`."""
        return (*self.texts, self.body, self.digest)

    def check(self) -> None:
        """Raise `StorageCorrupt` unless the row is what was stored."""
        if _row_digest(self.texts, self.body) != self.digest:
            raise corrupt(self.thread_id, self.checkpoint_id, damaged_channels(self.type, self.body))


@dataclass(frozen=True)
class WritesRow:
    """What one task wrote, as it is stored. `digest` covers all the rest."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    task_id: str
    task_path: str
    body: bytes
    """A list of (index, channel, node)."""
    digest: bytes

    @classmethod
    def of(cls, texts: tuple[str, str, str, str, str], writes: Mapping[int, tuple[str, Node]]) -> "WritesRow":
        """The row of `writes`, by index; `texts` are all that comes before the body."""
        body = ormsgpack.packb([(index, *write) for index, write in sorted(writes.items())])
        return cls(*texts, body, _row_digest(texts, body))

    @property
    def texts(self) -> tuple[str, str, str, str, str]:
        """All that comes before the body."""
        return (self.thread_id, self.checkpoint_ns, self.checkpoint_id, self.task_id, self.task_path)

    @property
    def columns(self) -> tuple[str | bytes, ...]:
        """All of it, in the order of the table."""
        return (*self.texts, self.body, self.digest)

    def writes(self) -> list[tuple[int, str, Node]]:
        """What was written, by index. Raises `StorageCorrupt` unless it is what was stored."""
        if _row_digest(self.texts, self.body) != self.digest:
            raise corrupt(self.thread_id, self.checkpoint_id, damaged_channels("", self.body))
        return [(index, channel, node) for index, channel, node in ormsgpack.unpackb(self.body)]


def put_checkpoint(connection: apsw.Connection, row: CheckpointRow, epoch: int | None, may_branch: bool) -> None:
    """Store a checkpoint whose parent is the head of its thread, or any other when it `may_branch`.

    What is stored already is left as it is. Raises `StaleEpoch` when the thread belongs to another epoch or has moved
    on, and `AlreadyExists` when the id is taken by other content.
    """
    connection.execute(_PUT, (*row.columns, epoch, may_branch))
    if connection.changes():
        return
    if epoch is not None:
        check_epoch(connection, row.thread_id, epoch)
    key = (row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    stored = connection.execute(_STORED_DIGEST, key).get
    if stored == row.digest:
        return
    if stored:
        raise AlreadyExists(
            f"Checkpoint {row.checkpoint_id} of thread {row.thread_id!r} is stored with other content.",
            remedy="Read the thread again and repeat the update.",
            thread_id=row.thread_id,
        )
    head = head_of(connection, row.thread_id, row.checkpoint_ns)
    raise StaleEpoch(
        f"Thread {row.thread_id!r} has moved on: its head is {head}, not {row.parent_id}.",
        remedy="Read the thread again and repeat the update.",
        thread_id=row.thread_id,
        parent=row.parent_id,
        head=head,
    )


def put_writes(connection: apsw.Connection, row: WritesRow, epoch: int | None, replaces: bool) -> None:
    """Store what a task wrote. Of two writes with one index the first stays, or the second when it `replaces`.

    Raises `StaleEpoch` when the thread belongs to another epoch.
    """
    connection.execute(_PUT_WRITES, (*row.columns, epoch))
    if connection.changes():
        return
    if epoch is not None:
        check_epoch(connection, row.thread_id, epoch)
    stored = next(
        found
        for found in stored_writes(connection, row.thread_id, row.checkpoint_ns, row.checkpoint_id)
        if found.task_id == row.task_id
    )
    old, new = ({index: (channel, node) for index, channel, node in each.writes()} for each in (stored, row))
    merged = WritesRow.of(stored.texts, {**old, **new} if replaces else {**new, **old})
    connection.execute("REPLACE INTO thread_writes VALUES (?, ?, ?, ?, ?, ?, ?)", merged.columns)


def put_chunks(connection: apsw.Connection, thread_id: str, chunks: Mapping[bytes, bytes]) -> None:
    """Store what is not there yet."""
    rows = [(thread_id, digest, data) for digest, data in chunks.items()]
    connection.executemany("INSERT OR IGNORE INTO chunks VALUES (?, ?, ?)", rows)


def head_of(connection: apsw.Connection, thread_id: str, checkpoint_ns: str) -> str | None:
    """The id of the newest checkpoint."""
    found = connection.execute(f"{_HEAD} LIMIT 1", (thread_id, checkpoint_ns)).get
    return str(found) if found else None


def sizes_of(connection: apsw.Connection, thread_id: str) -> dict[str, int]:
    """Bytes of each checkpoint of the thread, by id, without the chunks that it shares with others."""
    sql = "SELECT checkpoint_id, length(body) FROM thread_checkpoints WHERE thread_id = ?"
    return dict(connection.execute(sql, (thread_id,)))


def check_stored(connection: apsw.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> None:
    """Raise `StaleEpoch` when the checkpoint is not there."""
    if connection.execute(_STORED_DIGEST, (thread_id, checkpoint_ns, checkpoint_id)).get is None:
        raise StaleEpoch(
            f"Checkpoint {checkpoint_id} of thread {thread_id!r} was deleted.",
            remedy="Read the thread again and repeat the update.",
            thread_id=thread_id,
        )


def stored_writes(
    connection: apsw.Connection, thread_id: str, checkpoint_ns: str, checkpoint_id: str
) -> list[WritesRow]:
    """What the tasks of a checkpoint wrote, in the order in which LangGraph applies it."""
    sql = f"SELECT * {_STORED_WRITES} ORDER BY task_path, task_id"
    return [WritesRow(*row) for row in connection.execute(sql, (thread_id, checkpoint_ns, checkpoint_id))]


def chunks_of(connection: apsw.Connection, thread_id: str, fetched: set[bytes] | None = None) -> Fetch:
    """Fetch chunks of the thread, each checked; their digests are added to `fetched`."""

    def fetch(digest: bytes) -> bytes:
        if fetched is not None:
            fetched.add(digest)
        sql = "SELECT data FROM chunks WHERE thread_id = ? AND digest = ?"
        data = connection.execute(sql, (thread_id, digest)).get
        if data is None:
            raise Damage(f"chunk {digest.hex()} is missing")
        if digest_of(data) != digest:
            raise Damage(f"chunk {digest.hex()} is not what was stored")
        return bytes(data)

    return fetch


def corrupt(thread_id: str, checkpoint_id: str, channels: Iterable[str], why: str = "") -> StorageCorrupt:
    """The error for a checkpoint that is not what was stored."""
    named = ", ".join(channels)
    where = f"Channel {named} of checkpoint" if named else "Checkpoint"
    return StorageCorrupt(
        f"{where} {checkpoint_id} in thread {thread_id!r} is damaged{': ' if why else ''}{why}.",
        remedy="`waystation backup restore` brings back the newest good copy.",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
        channel=named,
    )


def damaged_channels(kind: str, body: bytes) -> list[str]:
    """The channels whose inline values are damaged, as far as the body can still be read."""
    try:
        found = ormsgpack.unpackb(body, ext_hook=lambda code, data: None, option=ormsgpack.OPT_NON_STR_KEYS)
        pairs = found["channel_values"].items() if kind == NODES else [(channel, node) for _, channel, node in found]
        return [str(channel) for channel, node in pairs if is_damaged(node)]
    except Exception:  # anything may come of damaged bytes
        return []


def _row_digest(texts: Iterable[str | None], body: bytes) -> bytes:
    return digest_of("\0".join([text or "" for text in texts]).encode() + body)
