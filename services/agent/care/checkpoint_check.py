"""Compares every checkpoint, write and chunk of agent.db with its digest."""

from collections.abc import Iterator
from typing import Any

import apsw

from services.agent.checkpoint.encoding import digest_of
from services.agent.checkpoint.rows import COLUMNS, CheckpointRow, WritesRow
from shared.errors import StorageCorrupt
from shared.storage.integrity import Damage


def check_checkpoints(connection: apsw.Connection) -> Iterator[Damage]:
    """Yield the threads of which a checkpoint, a write or a chunk is not what was stored, each once."""
    seen: set[str] = set()
    for thread_id, text in _damage(connection):
        if thread_id not in seen:
            seen.add(thread_id)
            yield Damage("thread", thread_id, text)


def _damage(connection: apsw.Connection) -> Iterator[tuple[str, str]]:
    for fields in _rows(connection, f"SELECT {COLUMNS} FROM thread_checkpoints"):
        row = CheckpointRow(*fields)
        try:
            row.check()
        except StorageCorrupt as error:
            yield row.thread_id, error.message
    for fields in _rows(connection, "SELECT * FROM thread_writes"):
        writes = WritesRow(*fields)
        try:
            writes.writes()
        except StorageCorrupt as error:
            yield writes.thread_id, error.message
    for thread_id, digest, data in _rows(connection, "SELECT thread_id, digest, data FROM chunks"):
        if digest_of(data) != digest:
            yield thread_id, f"chunk {digest.hex()} is not what was stored"


def _rows(connection: apsw.Connection, sql: str) -> Iterator[Any]:
    return iter(connection.execute(sql))
