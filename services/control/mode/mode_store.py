"""The mode's layers in control.db, with what is left of those that end."""

from typing import Any

import apsw

from services.control.mode.layers import MODES, Layers, Mode, Timed
from shared.storage.database import Database


class ModeStore:
    """Saves and loads layers.

    A layer's end is stored twice: as a moment of the wall clock, so that the time in which nothing ran counts, and as
    what was left of it, so that a wall clock that was set back cannot make it longer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, layers: Layers, monotonic: float, wall: float) -> None:
        """Store the layers. Raises `StorageUnavailable`."""
        rows: list[tuple[str, Mode, float | None, float | None]] = [("base", layers.base, None, None)]
        for name, timed in (("chosen", layers.chosen), ("window", layers.window)):
            if timed and timed.until > monotonic:
                remaining = timed.until - monotonic
                rows.append((name, timed.mode, wall + remaining, remaining))

        def work(connection: apsw.Connection) -> None:
            connection.execute("DELETE FROM mode_layers")
            connection.executemany("INSERT INTO mode_layers VALUES (?, ?, ?, ?)", rows)

        await self._database.write(work)

    async def load(self, monotonic: float, wall: float) -> Layers:
        """The layers that were stored last, without those that have ended since."""
        query = "SELECT layer, mode, end_s, remaining_s FROM mode_layers"
        rows: list[Any] = await self._database.read(lambda connection: connection.execute(query).fetchall())
        found: dict[str, tuple[Mode, float]] = {}
        for layer, mode, end_s, remaining_s in rows:
            left = 0.0 if end_s is None else min(remaining_s, end_s - wall)
            if mode in MODES and (layer == "base" or left > 0):
                found[layer] = (mode, monotonic + left)
        timed = {layer: Timed(*values) for layer, values in found.items()}
        base = timed["base"].mode if "base" in timed else "shipping"
        return Layers(base, timed.get("chosen"), timed.get("window"))
