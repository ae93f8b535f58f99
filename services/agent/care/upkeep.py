"""The agent's use of its care: one process for each data folder, marks and backups while it runs."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.agent.care import contents, marks
from services.agent.care.store_care import StoreCare
from shared.errors import WaystationError
from shared.storage.database import Database
from shared.storage.file_lock import locked

logger = logging.getLogger(__name__)

MARK_S = 30.0
"""How much of the newest past an older copy of the file may lack unnoticed."""
LOCK_PATIENCE_S = 2.0
"""How long a start waits for an agent that is just dying."""


def lock_path(folder: Path) -> Path:
    """The lock of the agent's folder."""
    return folder / "agent.lock"


@asynccontextmanager
async def cared_for(care: StoreCare, backup_interval_s: float, mark_s: float = MARK_S) -> AsyncIterator[Database]:
    """Hold the folder's lock and the open store; back it up at every interval (0: never) and after a clean stop.

    Raises as `StoreCare.open` does, and `StorageUnavailable` when another process has the folder.
    """
    with locked(lock_path(care.path.parent), LOCK_PATIENCE_S):
        database = await asyncio.to_thread(care.open)
        upkeep = Upkeep(care, database, backup_interval_s)
        task = asyncio.create_task(upkeep.keep(mark_s))
        try:
            yield database
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.to_thread(upkeep.finish)


class Upkeep:
    """Marks and backups of a store that is in use."""

    def __init__(self, care: StoreCare, database: Database, backup_interval_s: float) -> None:
        self._care = care
        self._database = database
        self._interval_s = backup_interval_s

    async def keep(self, mark_s: float = MARK_S) -> None:
        """Go on for ever; what fails is logged and tried again."""
        marked: tuple[int, dict[str, int]] | None = None
        while True:
            await asyncio.sleep(mark_s)
            try:
                now = await self._database.read(contents.progress)
                if now != marked:
                    marked = now
                    mark = await self._database.write(marks.advance)
                    await asyncio.to_thread(self._care.copy_mark, mark)
                if self._is_due():
                    await asyncio.to_thread(self._care.create_backup)
            except (WaystationError, OSError) as error:
                logger.warning("the upkeep of %s failed: %s", self._care.path.name, error)

    def finish(self) -> None:
        """Copy the last mark, back the store up unless the newest backup has all of it, and close it."""
        try:
            self._care.copy_mark(self._database.submit(marks.advance).result())
            if self._interval_s and not self._care.is_backed_up():
                self._care.create_backup()
        except (WaystationError, OSError) as error:
            logger.warning("the last upkeep of %s failed: %s", self._care.path.name, error)
        finally:
            self._database.close()

    def _is_due(self) -> bool:
        if not self._interval_s:
            return False
        newest = next(iter(self._care.backups.backups()), None)
        age_s = (time.time_ns() - newest.time_ns) / 1e9 if newest else self._interval_s
        # one from the future was made before the clock was put back
        return not 0 <= age_s < self._interval_s and not self._care.is_backed_up()
