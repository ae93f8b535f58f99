"""Deleting and copying checkpoints; chunks that nothing refers to any more go in the same transaction."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import ormsgpack

from services.agent.checkpoint.encoding import Damage, Node, digests_of
from services.agent.checkpoint.rows import COLUMNS, NODES, CheckpointRow, WritesRow, chunks_of, corrupt
from shared.errors import AlreadyExists, NotFound

Key = tuple[str, str, str]
"""Thread, namespace and id of a checkpoint."""

_HEADS = "SELECT max(seq) FROM thread_checkpoints WHERE thread_id = ?1 GROUP BY checkpoint_ns"
_OF_CHECKPOINT = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"


@dataclass(frozen=True)
class StoreSize:
    """What a file takes, without its log, in bytes."""

    used_bytes: int
    free_bytes: int
    """Left by what was deleted, for what comes."""


def delete_thread(connection: apsw.Connection, thread_id: str) -> None:
    """Delete everything of the thread but its epoch."""
    for table in ("thread_checkpoints", "thread_writes", "chunks"):
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))


def keep_latest(connection: apsw.Connection, thread_id: str) -> None:
    """Delete all checkpoints of the thread but the newest of each namespace."""
    sql = f"""
        SELECT thread_id, checkpoint_ns, checkpoint_id FROM thread_checkpoints
        WHERE thread_id = ?1 AND seq NOT IN ({_HEADS})
    """
    keys: Any = connection.execute(sql, (thread_id,)).fetchall()
    delete_checkpoints(connection, keys, keep_heads=True)


def checkpoints_of_runs(connection: apsw.Connection, run_ids: Sequence[str]) -> list[Key]:
    """The checkpoints that these runs made. Looks at every checkpoint: for a read connection."""
    wanted = set(run_ids)
    rows: Any = connection.execute("SELECT run_id, thread_id, checkpoint_ns, checkpoint_id FROM thread_checkpoints")
    return [(thread_id, ns, checkpoint_id) for run_id, thread_id, ns, checkpoint_id in rows if run_id in wanted]


def delete_checkpoints(connection: apsw.Connection, keys: Iterable[Key], keep_heads: bool) -> int:
    """Delete checkpoints with their writes, and return how many. `keep_heads` spares the newest of each namespace."""
    threads = set()
    deleted = 0
    for key in keys:
        spared = f"AND seq NOT IN ({_HEADS.replace('?1', '?')})" if keep_heads else ""
        values = (*key, key[0]) if keep_heads else key
        connection.execute(f"DELETE FROM thread_checkpoints {_OF_CHECKPOINT} {spared}", values)
        if connection.changes():
            connection.execute(f"DELETE FROM thread_writes {_OF_CHECKPOINT}", key)
            threads.add(key[0])
            deleted += 1
    for thread_id in threads:
        sweep(connection, thread_id)
    return deleted


def sweep(connection: apsw.Connection, thread_id: str) -> None:
    """Delete the chunks of the thread that nothing refers to. Raises `StorageCorrupt` when that cannot be told."""
    stored = {digest for (digest,) in connection.execute("SELECT digest FROM chunks WHERE thread_id = ?", (thread_id,))}
    if not stored:
        return
    used: set[bytes] = set()
    fetch = chunks_of(connection, thread_id)
    for checkpoint_id, channel, node in _nodes(connection, thread_id):
        try:
            used.update(digests_of(node, fetch))
        except Damage as error:
            raise corrupt(thread_id, checkpoint_id, [channel], str(error)) from error
    unused = [(thread_id, digest) for digest in stored - used]
    connection.executemany("DELETE FROM chunks WHERE thread_id = ? AND digest = ?", unused)


def copy_thread(connection: apsw.Connection, source: str, target: str) -> None:
    """Copy all that is stored of `source`. Raises `NotFound` when that is nothing, `AlreadyExists` for the target."""
    sql = "SELECT EXISTS (SELECT 1 FROM thread_checkpoints WHERE thread_id = ?)"
    if not connection.execute(sql, (source,)).get:
        raise NotFound(f"Thread {source!r} has no checkpoints.", thread_id=source)
    if connection.execute(sql, (target,)).get:
        raise AlreadyExists(f"Thread {target!r} has checkpoints.", remedy="Copy to a new thread.", thread_id=target)
    sql = f"INSERT INTO thread_checkpoints ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    for checkpoint in _checkpoints(connection, source):
        connection.execute(sql, CheckpointRow.of((target, *checkpoint.texts[1:]), checkpoint.body).columns)
    for writes in _writes(connection, source):
        copied = WritesRow.of(
            (target, *writes.texts[1:]), {index: (name, node) for index, name, node in writes.writes()}
        )
        connection.execute("INSERT INTO thread_writes VALUES (?, ?, ?, ?, ?, ?, ?)", copied.columns)
    sql = "INSERT OR IGNORE INTO chunks SELECT ?, digest, data FROM chunks WHERE thread_id = ?"
    connection.execute(sql, (target, source))


def size(connection: apsw.Connection) -> StoreSize:
    """What the file takes."""
    page, pages, free = (connection.pragma(name) for name in ("page_size", "page_count", "freelist_count"))
    return StoreSize((pages - free) * page, free * page)


def _nodes(connection: apsw.Connection, thread_id: str) -> Iterator[tuple[str, str, Node]]:
    """Every node of the thread, with its checkpoint's id and its channel."""
    for checkpoint in _checkpoints(connection, thread_id):
        if checkpoint.type == NODES:
            found = ormsgpack.unpackb(
                checkpoint.body, ext_hook=lambda code, data: None, option=ormsgpack.OPT_NON_STR_KEYS
            )
            for channel, node in found["channel_values"].items():
                yield checkpoint.checkpoint_id, channel, node
    for writes in _writes(connection, thread_id):
        for _, channel, node in writes.writes():
            yield writes.checkpoint_id, channel, node


def _checkpoints(connection: apsw.Connection, thread_id: str) -> Iterator[CheckpointRow]:
    sql = f"SELECT {COLUMNS} FROM thread_checkpoints WHERE thread_id = ? ORDER BY seq"
    found: Any = connection.execute(sql, (thread_id,)).fetchall()
    for fields in found:
        row = CheckpointRow(*fields)
        row.check()
        yield row


def _writes(connection: apsw.Connection, thread_id: str) -> Iterator[WritesRow]:
    found: Any = connection.execute("SELECT * FROM thread_writes WHERE thread_id = ?", (thread_id,)).fetchall()
    for fields in found:
        yield WritesRow(*fields)
