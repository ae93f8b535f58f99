"""Where model files lie, and whether they are what the manifest says."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import ModelCorrupt, ModelMissing
from shared.models.manifest import DATA, ModelEntry

BLOCK_BYTES = 4 * 1024 * 1024
State = Literal["present", "missing", "incomplete"]
Progress = Callable[[int], None]
"""Is told how many bytes have been done since it was last told."""


def ignore_progress(_: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class ModelStore:
    """The model files under `home`; bundled ones come with the code."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where pulled files lie."""
        return self.home / "models"

    def path(self, entry: ModelEntry) -> Path:
        """Where the model's file is or will be."""
        return (DATA if entry.is_bundled else self.folder) / entry.file

    def state(self, entry: ModelEntry) -> State:
        """Whether the file is there in full; its sum is not looked at."""
        try:
            size = self.path(entry).stat().st_size
        except OSError:
            return "missing"
        return "present" if size == entry.size else "incomplete"

    def verified(self, entry: ModelEntry, progress: Progress = ignore_progress, *, again: bool = False) -> Path:
        """Return the path of a file whose sum is right.

        The sum is computed once for a file and remembered by size and time of change, unless `again`. Raises
        `ModelMissing`, or `ModelCorrupt` after putting a file with a wrong sum aside.
        """
        path = self.path(entry)
        if self.state(entry) == "missing":
            raise ModelMissing(
                f"The model {entry.name} is not there: {path}.",
                remedy=f"waystation models pull {entry.name}",
                model=entry.name,
            )
        if not again and self._stamp(path).exists() and self._stamp(path).read_text() == _identity(path, entry):
            return path
        found = file_sum(path, progress)
        if found != entry.sha256:
            raise self.rejected(entry, path, found)
        if not entry.is_bundled:
            self._stamp(path).write_text(_identity(path, entry))
        return path

    def rejected(self, entry: ModelEntry, path: Path, found: str) -> ModelCorrupt:
        """Put a file with a wrong sum aside, never delete it, and return the error that says so."""
        number = 1
        while (aside := self.folder / f"{entry.file}.rejected-{number}").exists():
            number += 1
        if not entry.is_bundled:
            path.rename(aside)
        return ModelCorrupt(
            f"The file for {entry.name} has the SHA-256 {found[:12]}…, the manifest says {entry.sha256[:12]}….",
            remedy=f"It is kept at {aside}; get a good one with `waystation models pull {entry.name}`.",
            model=entry.name,
            kept_at=aside,
        )

    @staticmethod
    def _stamp(path: Path) -> Path:
        return path.with_name(f".{path.name}.verified")


def file_sum(path: Path, progress: Progress = ignore_progress) -> str:
    """SHA-256 of a file, lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def _identity(path: Path, entry: ModelEntry) -> str:
    status = os.stat(path)
    return json.dumps([entry.sha256, status.st_size, status.st_mtime_ns])
