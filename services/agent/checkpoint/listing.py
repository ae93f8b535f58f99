"""A listing of checkpoints, newest first, a page at a time."""

from typing import Any

import apsw
import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from services.agent.checkpoint.reading import tuple_of
from services.agent.checkpoint.rows import COLUMNS, CheckpointRow

PAGE_ROWS = 32
_NEWEST = 1 << 62


class Listing:
    """What one call to `list` has yet to return."""

    def __init__(
        self,
        serde: SerializerProtocol,
        config: RunnableConfig | None,
        wanted: dict[str, Any],
        before: RunnableConfig | None,
        limit: int | None,
    ) -> None:
        """`wanted` are values of the metadata; `before` names a checkpoint that ends the listing, itself left out."""
        self.is_done = limit == 0
        self._serde = serde
        self._configurable = (config or {}).get("configurable", {})
        self._wanted = wanted
        self._before = (before or {}).get("configurable", {}).get("checkpoint_id")
        self._left = limit if limit is not None else _NEWEST
        self._seq = _NEWEST

    def next_page(self, connection: apsw.Connection) -> list[CheckpointTuple]:
        """The next ones, which may be none even when it is not done. For a read connection."""
        if self._before:
            self._seq, self._before = self._start(connection), None
        clauses = ["seq < ?"]
        values: list[int | str] = [self._seq]
        for column in ("thread_id", "checkpoint_ns", "checkpoint_id"):
            if (value := self._configurable.get(column)) is not None:
                clauses.append(f"{column} = ?")
                values.append(str(value))
        sql = f"SELECT seq, {COLUMNS} FROM thread_checkpoints WHERE {' AND '.join(clauses)} ORDER BY seq DESC LIMIT ?"
        found: list[Any] = connection.execute(sql, (*values, PAGE_ROWS)).fetchall()
        page: list[CheckpointTuple] = []
        for seq, *fields in found:
            self._seq = seq
            row = CheckpointRow(*fields)
            if len(page) < self._left and self._is_wanted(row):
                page.append(tuple_of(connection, self._serde, row))
        self._left -= len(page)
        self.is_done = len(found) < PAGE_ROWS or not self._left
        return page

    def _start(self, connection: apsw.Connection) -> int:
        """Where the checkpoint to stop before stands; for one that is gone, where its id would have been."""
        thread_id = self._configurable.get("thread_id")
        sql = """
            SELECT coalesce(max(seq) FILTER (WHERE checkpoint_id = ?1), max(seq) FILTER (WHERE checkpoint_id < ?1) + 1)
            FROM thread_checkpoints WHERE ?2 IS NULL OR thread_id = ?2
        """
        return int(connection.execute(sql, (self._before, thread_id and str(thread_id))).get or 0)

    def _is_wanted(self, row: CheckpointRow) -> bool:
        if not self._wanted:
            return True
        row.check()
        metadata = orjson.loads(row.metadata)
        return all(key in metadata and metadata[key] == value for key, value in self._wanted.items())
