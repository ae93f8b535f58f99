"""Where model files lie, and whether they are what the manifest says."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from shared.errors import ModelCorrupt, ModelMissing
from shared.models.manifest import DATA, ModelEntry

CHUNK_BYTES = 4 * 1024 * 1024


class ModelStore:
    """The folder with the model files, usually `models` in the data folder; bundled models lie with the code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, entry: ModelEntry) -> Path:
        """Where the model's file is, or would be."""
        return (DATA if entry.is_bundled else self.folder) / entry.file

    def has(self, entry: ModelEntry) -> bool:
        """Whether a file of the right size is there. The sum is not looked at."""
        path = self.path(entry)
        return path.is_file() and path.stat().st_size == entry.size

    def find(self, entry: ModelEntry, *, is_thorough: bool = False) -> Path:
        """Return the path of the model's file after checking its sum.

        A file that was checked before and has the same size and time since is not read again, unless `is_thorough`.
        Raises ModelMissing when there is none; ModelCorrupt when the sum is wrong, after setting the file aside.
        """
        path = self.path(entry)
        try:
            stamp = _stamp(path, entry)
        except OSError as error:
            raise ModelMissing(
                f"The model {entry.name} has no file at {path}: {error.strerror}.",
                remedy=f"Run `waystation models pull {entry.name}`.",
                model=entry.name,
            ) from None
        if is_thorough or self._read_stamp(entry) != stamp:
            self.check(path, entry)
            self._write_stamp(entry, stamp)
        return path

    def check(self, path: Path, entry: ModelEntry, on_bytes: Callable[[int], None] | None = None) -> None:
        """Raise ModelCorrupt, after setting the file aside, when `path` is not the file of the manifest.

        `on_bytes` is told the size of each piece that was read.
        """
        size = path.stat().st_size
        if size != entry.size:
            raise self._reject(path, entry, f"{size} bytes instead of {entry.size}")
        found = sha256_of(path, on_bytes)
        if found != entry.sha256:
            raise self._reject(path, entry, f"the sum {found} instead of {entry.sha256}")

    def adopt(self, partial: Path, entry: ModelEntry) -> Path:
        """Check a finished download and move it to its place in one step. Raises ModelCorrupt as `check` does."""
        self.check(partial, entry)
        path = self.path(entry)
        os.replace(partial, path)
        _sync_folder(path.parent)
        self._write_stamp(entry, _stamp(path, entry))
        return path

    def _reject(self, path: Path, entry: ModelEntry, why: str) -> ModelCorrupt:
        if entry.is_bundled:
            remedy, kept_at = "Install Waystation again.", path
        else:
            remedy, kept_at = f"Run `waystation models pull {entry.name}`.", _set_aside(path)
        return ModelCorrupt(
            f"The file of the model {entry.name} has {why}; it is not used, and kept at {kept_at}.",
            remedy=remedy,
            model=entry.name,
            kept_at=kept_at,
        )

    def _stamp_path(self, entry: ModelEntry) -> Path:
        return self.folder / f".{entry.file}.verified"

    def _read_stamp(self, entry: ModelEntry) -> object:
        try:
            return json.loads(self._stamp_path(entry).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _write_stamp(self, entry: ModelEntry, stamp: dict[str, object]) -> None:
        # A store that cannot be written is checked again each time.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._stamp_path(entry).write_text(json.dumps(stamp), encoding="utf-8")


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the file's SHA-256 in lower-case hexadecimal; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
            if on_bytes:
                on_bytes(len(piece))
    return digest.hexdigest()


def _stamp(path: Path, entry: ModelEntry) -> dict[str, object]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": entry.sha256}


def _set_aside(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.rejected-{number}")).exists():
        number += 1
    return path.rename(target)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
