"""Where each life of the control plane begins to number its events: above all that any life before has given out."""

import apsw

from shared.storage.database import Database, Schema

CURSORS_PER_LIFE = 1_000_000_000
"""More events than one life has."""

SCHEMA = Schema("lives", ("CREATE TABLE lives (first_cursor INTEGER PRIMARY KEY) STRICT",))


async def begin_life(database: Database, wanted: int) -> int:
    """Return the cursor that this life begins after: `wanted`, or a higher one when the clock was set back."""

    def work(connection: apsw.Connection) -> int:
        last = connection.execute("SELECT max(first_cursor) FROM lives").get
        first = wanted if last is None else max(wanted, int(last) + CURSORS_PER_LIFE)
        connection.execute("DELETE FROM lives")
        connection.execute("INSERT INTO lives VALUES (?)", (first,))
        return first

    return await database.write(work)
