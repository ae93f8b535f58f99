"""Read-only SQL over a SQLite file in the allowed folders."""

import asyncio
from pathlib import Path

from pydantic import Field

from services.tools.folders import AllowedFolders
from services.tools.tool import Arguments, JsonObject, ToolError, ToolOutput, TypedTool
from shared.errors import InvalidInput, StorageCorrupt
from shared.storage import readonly

_SELECT = "^(SELECT|WITH) .+$"


class QueryDatabaseArguments(Arguments):
    """A file and a query."""

    path: str = Field(min_length=1, description="SQLite file inside the allowed folders.")
    sql: str = Field(
        min_length=1, max_length=10_000, description="One SELECT statement.", json_schema_extra={"pattern": _SELECT}
    )


class QueryDatabase(TypedTool[QueryDatabaseArguments]):
    """Rows of a SELECT. A query that does not fit the tables is answered with the tables there are."""

    name = "query_database"
    description = "One SELECT on a SQLite file of the user."
    arguments = QueryDatabaseArguments

    def __init__(self, folders: AllowedFolders) -> None:
        self._folders = folders

    async def run(self, arguments: QueryDatabaseArguments) -> ToolOutput:
        """`content`: columns, rows (lists), is_complete."""
        return await asyncio.to_thread(self._query, arguments)

    def _query(self, arguments: QueryDatabaseArguments) -> ToolOutput:
        path = self._folders.resolve(arguments.path)
        with self._folders.open(path):
            pass  # Refuses what is not a regular file inside the folders.
        try:
            result = readonly.query(path, arguments.sql)
        except InvalidInput as error:
            raise ToolError(
                "INVALID_SQL", f"{error.message} Use only these tables and columns:\n{_tables(path)}"
            ) from error
        except StorageCorrupt as error:
            raise ToolError("NOT_A_DATABASE", f"{arguments.path!r} is not a SQLite database, or is damaged.") from error
        return _output(result)


def _tables(path: Path) -> str:
    tables = readonly.describe_tables(path)
    return tables if len(tables) < 2_000 else f"{tables[:2_000]}…"


def _output(result: readonly.QueryResult) -> ToolOutput:
    lines = [" | ".join(result.columns), *(" | ".join("" if c is None else str(c) for c in row) for row in result.rows)]
    if not result.rows:
        lines = ["No rows."]
    if not result.is_complete:
        lines.append(f"[only the first {len(result.rows)} rows are shown]")
    content: JsonObject = {"columns": list(result.columns), "rows": [list(row) for row in result.rows]}
    content["is_complete"] = result.is_complete
    is_single = len(result.rows) == 1 and len(result.columns) == 1 and result.rows[0][0] is not None
    return ToolOutput("\n".join(lines), content, (str(result.rows[0][0]),) if is_single else ())
