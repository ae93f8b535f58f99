"""A power cut loses nothing that was acknowledged with synchronous FULL; with less it does, and this test notices."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from shared.errors import WaystationError
from shared.storage.database import Database, Schema
from tests.power_loss_vfs import Disk, Keep, PowerLossVfs

SCHEMA = Schema("steps", ("CREATE TABLE steps (thread INTEGER, step INTEGER, body BLOB, PRIMARY KEY (thread, step));",))
THREADS, STEPS = 4, 40
CUTS = 60
CHECKPOINT_PAGES = 12
"""Small, so that the writes of one test pass through several checkpoints of the WAL."""

KEEPS: dict[str, Callable[[random.Random], Keep]] = {
    "nothing": lambda rng: lambda: False,
    "everything": lambda rng: lambda: True,
    "any part": lambda rng: lambda: rng.random() < 0.5,
    "nearly all": lambda rng: lambda: rng.random() < 0.95,
}
"""What the disk's cache may have saved of the writes that were not synced."""


@dataclass(frozen=True)
class Cut:
    """A power cut: what had been acknowledged, and the files that are left."""

    acknowledged: int
    files: dict[str, bytes]


class Machine:
    """Writes as a saver does, and cuts the power before chosen operations of the disk."""

    def __init__(self, folder: Path, seed: int, keep: Callable[[random.Random], Keep]) -> None:
        self._folder, self._rng, self._keep = folder, random.Random(seed), keep
        self._done: list[Future[None]] = []
        self._cuts: list[Cut] = []
        self._chance = 0.3
        self._disk = Disk(self._maybe_cut)

    def run(self, synchronous: str) -> list[Cut]:
        """Write everything; returns the cuts, the last of them after the last acknowledgement."""
        with self._vfs() as vfs:
            database = Database(self._folder / "saver.db", SCHEMA, on_connect=_settings(synchronous), vfs=vfs)
            database.open()
            try:
                for step in range(STEPS):
                    batch = [database.submit(_put(thread, step)) for thread in range(THREADS)]
                    for future in batch:
                        future.result(timeout=10)
                        self._done.append(future)
                self._chance = 0.0
                self._cut()
            finally:
                database.close()
        return self._cuts

    @contextmanager
    def _vfs(self) -> Iterator[str]:
        vfs = PowerLossVfs(f"power-loss-{id(self)}", self._disk)
        try:
            yield f"power-loss-{id(self)}"
        finally:
            vfs.unregister()

    def _maybe_cut(self) -> None:
        if len(self._cuts) < CUTS and self._rng.random() < self._chance:
            self._cut()

    def _cut(self) -> None:
        acknowledged = len(self._done)  # before the files are looked at: what is acknowledged later may be lost
        self._cuts.append(Cut(acknowledged, self._disk.after_power_loss(self._keep(self._rng))))


def _settings(synchronous: str) -> Callable[[apsw.Connection], None]:
    def prepare(connection: apsw.Connection) -> None:
        connection.pragma("synchronous", synchronous)
        connection.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)

    return prepare


def _put(thread: int, step: int) -> Callable[[apsw.Connection], None]:
    def work(connection: apsw.Connection) -> None:
        body = random.Random(thread * STEPS + step).randbytes(900)
        connection.execute("INSERT INTO steps VALUES (?, ?, ?)", (thread, step, body))

    return work


def lost_after(cut: Cut, folder: Path) -> int:
    """Start again from what is left; returns how many acknowledged writes are not there.

    Fails when a row is there that is not as it was written, or the file is not sound.
    """
    folder.mkdir()
    for name, content in cut.files.items():
        (folder / name).write_bytes(content)
    if not (folder / "saver.db").exists():
        return cut.acknowledged
    database = Database(folder / "saver.db", SCHEMA)
    database.open()
    try:
        rows = database.submit(lambda connection: connection.execute("SELECT * FROM steps").fetchall()).result()
        check = database.submit(lambda connection: connection.pragma("integrity_check")).result()
    finally:
        database.close()
    assert check == "ok"
    for thread, step, body in rows:
        assert body == random.Random(thread * STEPS + step).randbytes(900)
    there = {(step, thread) for thread, step, _ in rows}
    # batches are acknowledged in order, so the first of them are the ones that must be there
    wanted = [(step, thread) for step in range(STEPS) for thread in range(THREADS)][: cut.acknowledged]
    return sum(key not in there for key in wanted)


@pytest.mark.parametrize("kept", KEEPS)
def test_full_keeps_every_acknowledged_write(tmp_path: Path, kept: str) -> None:
    cuts = Machine(tmp_path / "machine", 1, KEEPS[kept]).run("FULL")
    assert len(cuts) > CUTS / 2
    assert cuts[-1].acknowledged == THREADS * STEPS
    assert [lost_after(cut, tmp_path / str(number)) for number, cut in enumerate(cuts)] == [0] * len(cuts)


def test_normal_loses_commits_and_it_is_noticed(tmp_path: Path) -> None:
    cuts = Machine(tmp_path / "machine", 2, KEEPS["nothing"]).run("NORMAL")
    lost = [lost_after(cut, tmp_path / str(number)) for number, cut in enumerate(cuts)]
    assert max(lost) > 0
    # what a checkpoint of the WAL has carried over was synced
    assert lost[-1] < THREADS * STEPS


@pytest.mark.parametrize("kept", ["nothing", "any part"])
def test_off_loses_nearly_everything_and_it_is_noticed(tmp_path: Path, kept: str) -> None:
    cuts = Machine(tmp_path / "machine", 3, KEEPS[kept]).run("OFF")
    outcomes: Counter[str] = Counter()
    for number, cut in enumerate(cuts):
        try:
            outcomes["lost" if lost_after(cut, tmp_path / str(number)) else "kept"] += 1
        except (WaystationError, AssertionError):  # damaged: noticed as well
            outcomes["damaged"] += 1
    assert outcomes["lost"] + outcomes["damaged"] > len(cuts) / 2
