"""Incidents in control.db: each once, the newest of them kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import apsw

from services.control.incidents.incident import Incident
from shared.errors import InvalidInput
from shared.storage.database import Database

MAX_INCIDENTS = 2_000
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
_COLUMNS = "kind, key, time_ns, message, service, instance_id, run_id, gap_ms"


class IncidentStore:
    """Stores incidents; `on_new` is called in the event loop with each one that was not known."""

    def __init__(self, database: Database, on_new: Callable[[Incident], None]) -> None:
        self._database, self._on_new = database, on_new

    async def add(self, incidents: Sequence[Incident]) -> None:
        """Store those that are not known yet. The oldest go when there are too many."""
        insert = f"INSERT OR IGNORE INTO incidents ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number"
        prune = "DELETE FROM incidents WHERE number <= (SELECT max(number) FROM incidents) - ?"

        def work(connection: apsw.Connection) -> list[Incident]:
            found = [(each, connection.execute(insert, _row(each)).get) for each in incidents]
            connection.execute(prune, (MAX_INCIDENTS,))
            return [replace(each, number=number) for each, number in found if number is not None]

        for incident in await self._database.write(work):
            self._on_new(incident)

    async def page(self, run_id: str = "", page_size: int = 0, page_token: str = "") -> tuple[list[Incident], str]:
        """Incidents, newest first, and the token of the next page; those of one run when it is named.

        Raises `InvalidInput` for a page size out of range or a token that is not from here.
        """
        if not 0 <= page_size <= MAX_PAGE_SIZE:
            raise InvalidInput(f"page_size must be 0 to {MAX_PAGE_SIZE}.", field="page_size", limit=MAX_PAGE_SIZE)
        size, before = page_size or DEFAULT_PAGE_SIZE, _read_token(page_token)
        query = f"SELECT {_COLUMNS}, number FROM incidents WHERE number < ? AND ? IN ('', run_id)"
        query += " ORDER BY number DESC LIMIT ?"
        arguments = (before, run_id, size + 1)
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(query, arguments).fetchall())
        found = [Incident(*row) for row in rows[:size]]
        return found, str(found[-1].number) if len(rows) > size else ""


def _row(incident: Incident) -> tuple[Any, ...]:
    return tuple(getattr(incident, name) for name in _COLUMNS.split(", "))


def _read_token(token: str) -> int:
    if not token:
        return 2**62
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise InvalidInput("page_token is none of ours.", remedy="Leave it out for the first page.", field="page_token")
    return int(token)
