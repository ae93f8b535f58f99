"""Files of LangGraph's stock SQLite saver: their checkpoints are taken over as they are, byte for byte."""

import logging
import zlib
from itertools import groupby
from typing import Any

import apsw

from services.agent.checkpoint.encoding import INLINE, Node
from services.agent.checkpoint.rows import COLUMNS, CheckpointRow, WritesRow

STOCK_TABLES = {
    "checkpoints": frozenset(
        {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata"}
    ),
    "writes": frozenset({"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "value"}),
}
"""Tables and columns by which such a file is known."""

_HAS_STOCK = "SELECT count(*) = 2 FROM main.sqlite_schema WHERE type = 'table' AND name IN ('checkpoints', 'writes')"
_CHECKPOINTS = """
    SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id,
        json_extract(CAST(metadata AS TEXT), '$.run_id'), coalesce(CAST(metadata AS TEXT), '{}'),
        coalesce(type, 'json'), checkpoint
    FROM checkpoints ORDER BY checkpoint_id
"""
_WRITES = """
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, {path}, idx, channel,
        coalesce(type, 'json'), coalesce(value, x'')
    FROM writes ORDER BY thread_id, checkpoint_ns, checkpoint_id, task_id, idx
"""
_INSERT = f"INSERT INTO thread_checkpoints ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEY_COLUMNS = 4

log = logging.getLogger(__name__)


def import_stock(connection: apsw.Connection) -> None:
    """Move what the stock saver left in this file into our tables; its own tables go. Raises nothing but SQL errors."""
    if not connection.execute(_HAS_STOCK).get:
        return
    checkpoints = 0
    found: Any = connection.execute(_CHECKPOINTS)
    for *texts, body in found:
        connection.execute(_INSERT, CheckpointRow.of(texts, body).columns)
        checkpoints += 1
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('writes')")}
    path_column = "task_path" if "task_path" in columns else "''"
    found = connection.execute(_WRITES.format(path=path_column))
    for key, rows in groupby(found, key=lambda row: row[:_KEY_COLUMNS]):
        writes: dict[int, tuple[str, Node]] = {}
        paths = set()
        for *_, path, index, channel, kind, data in rows:
            paths.add(path)
            writes[index] = channel, [INLINE, kind, data, zlib.crc32(data)]
        row = WritesRow.of((*key, max(paths)), writes)
        connection.execute("INSERT INTO thread_writes VALUES (?, ?, ?, ?, ?, ?, ?)", row.columns)
    connection.execute("DROP TABLE checkpoints; DROP TABLE writes")
    log.info("Took over %d checkpoints of LangGraph's SQLite saver.", checkpoints)
