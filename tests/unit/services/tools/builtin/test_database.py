"""Rows of a SELECT; a query that misses the tables hears of the tables there are."""

from pathlib import Path

import apsw
import pytest

from services.tools.builtin.database import QueryDatabase
from services.tools.folders import AllowedFolders
from services.tools.tool import ToolError


@pytest.fixture
def tool(root: Path, folders: AllowedFolders) -> QueryDatabase:
    """A tool with `shop.db` to ask."""
    connection = apsw.Connection(str(root / "shop.db"))
    for sql in ("CREATE TABLE orders (id INTEGER, total REAL)", "INSERT INTO orders VALUES (1, 12.5), (2, NULL)"):
        connection.execute(sql)
    connection.close()
    return QueryDatabase(folders)


async def test_rows_come_as_text_and_as_content(tool: QueryDatabase) -> None:
    output = await tool.call({"path": "shop.db", "sql": "SELECT id, total FROM orders"})
    assert output.text == "id | total\n1 | 12.5\n2 | "
    assert output.content == {"columns": ["id", "total"], "rows": [[1, 12.5], [2, None]], "is_complete": True}


async def test_a_single_value_is_what_an_answer_has_to_state(tool: QueryDatabase) -> None:
    assert (await tool.call({"path": "shop.db", "sql": "SELECT count(*) FROM orders"})).values == ("2",)


async def test_a_wrong_column_is_answered_with_the_tables(tool: QueryDatabase) -> None:
    with pytest.raises(ToolError) as caught:
        await tool.call({"path": "shop.db", "sql": "SELECT amount FROM orders"})
    assert caught.value.reason == "INVALID_SQL"
    assert "amount" in caught.value.message
    assert "orders(id, total)" in caught.value.message


async def test_what_is_no_database_is_told(tool: QueryDatabase) -> None:
    with pytest.raises(ToolError) as caught:
        await tool.call({"path": "a.txt", "sql": "SELECT 1"})
    assert caught.value.reason == "NOT_A_DATABASE"


async def test_a_database_outside_the_folders_is_not_asked(root: Path, tool: QueryDatabase) -> None:
    (root / "out.db").symlink_to(root.parent / "secret.txt")
    for path in ("out.db", "../secret.txt"):
        with pytest.raises(ToolError) as caught:
            await tool.call({"path": path, "sql": "SELECT 1"})
        assert caught.value.reason == "OUTSIDE_FOLDERS"
