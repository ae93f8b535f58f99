"""A saver in a folder of its own, and checkpoints to put."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.agent.checkpoint.saver import Saver
from services.agent.checkpoint.tables import SCHEMA
from shared.storage.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "agent.db", SCHEMA)
    found.open()
    yield found
    found.close()


@pytest.fixture
def saver(database: Database) -> Saver:
    return Saver(database)


class Thread:
    """Puts checkpoints on one thread, each on the one before."""

    def __init__(self, saver: Saver, thread_id: str = "t", epoch: int | None = None) -> None:
        self.saver = saver
        self.thread_id = thread_id
        self.epoch = epoch
        self.head = ""
        self._number = 0

    def config(self, checkpoint_id: str = "") -> dict[str, dict[str, Any]]:
        """The config that names a checkpoint, or the newest."""
        found: dict[str, Any] = {"thread_id": self.thread_id, "checkpoint_ns": ""}
        if checkpoint_id:
            found["checkpoint_id"] = checkpoint_id
        if self.epoch is not None:
            found["epoch"] = self.epoch
        return {"configurable": found}

    def put(self, values: dict[str, Any], **options: Any) -> str:
        """Put a checkpoint on the head, or on the `parent` given; return its id."""
        self._number += 1
        checkpoint_id = options.pop("checkpoint_id", f"{self._number:04}")
        parent = options.pop("parent", self.head)
        metadata = {"source": "loop", "step": self._number, **options}
        checkpoint = {
            "v": 1,
            "id": checkpoint_id,
            "ts": "2026-11-21T00:00:00+00:00",
            "channel_values": values,
            "channel_versions": dict.fromkeys(values, metadata["step"]),
            "versions_seen": {},
            "updated_channels": None,
        }
        self.saver.put(self.config(parent), checkpoint, metadata, {})  # type: ignore[arg-type,typeddict-item]
        self.head = checkpoint_id
        return checkpoint_id

    def values(self, checkpoint_id: str = "") -> dict[str, Any] | None:
        """What the newest checkpoint, or the one named, holds."""
        found = self.saver.get_tuple(self.config(checkpoint_id))  # type: ignore[arg-type]
        return found.checkpoint["channel_values"] if found else None

    def ids(self) -> list[str]:
        """The thread's checkpoints, newest first."""
        return [found.checkpoint["id"] for found in self.saver.list(self.config())]  # type: ignore[arg-type]


@pytest.fixture
def thread(saver: Saver) -> Thread:
    return Thread(saver)
