"""What control.db holds."""

import apsw

from shared.storage.database import Database


async def store_size(database: Database) -> tuple[int, int]:
    """Bytes of the file that hold something, and bytes that deletions have left for what comes."""
    query = "SELECT (page_count - freelist_count) * page_size, freelist_count * page_size"
    query += " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"

    def work(connection: apsw.Connection) -> tuple[int, int]:
        used, free = next(iter(connection.execute(query)))
        return int(used), int(free)

    return await database.read(work)
