"""Scratch folders: one for each run, measured while it runs, removed after it, swept up after a crash."""

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.coding.sandbox.execution import OutputFile
from services.coding.sandbox.program import MAIN

MAX_ENTRIES = 1000
MAX_DEPTH = 16
MAX_LISTED_FILES = 32
MAX_TEXT_BYTES = 16 * 2**10
_MAX_ALL_TEXT_BYTES = 64 * 2**10


class TooManyFiles(Exception):
    """The folder holds more files, deeper or less readable ones, than are measured."""


class ScratchRoot:
    """The folder that holds this process's scratch folders, locked as long as the process lives.

    Opening it removes what services that are dead have left in `parent`. Raises OSError when `parent` is not writable.
    """

    def __init__(self, parent: Path) -> None:
        parent = parent.resolve()
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nobody sweeps between the making of a folder and its locking.
        with open(parent / "lock", "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            _sweep(parent)
            self.path = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
            self.path.mkdir(mode=0o700)
            self._lock_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)

    def create(self, files: Mapping[str, bytes]) -> Path:
        """Makes a new folder with these files in it."""
        folder = self.path / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    def close(self) -> None:
        """Removes everything and gives the lock back."""
        remove(self.path)
        os.close(self._lock_fd)


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        if folder.is_dir():
            with _opened(folder) as fd:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                remove(folder)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def measure(folder: Path) -> int:
    """Returns the bytes that the folder's files take; raises TooManyFiles when they are past counting."""
    total = entries = 0
    for entry in _walk(folder):
        entries += 1
        if entries > MAX_ENTRIES:
            raise TooManyFiles
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        total += max(status.st_blocks * 512, status.st_size if stat.S_ISREG(status.st_mode) else 0)
    return total


def collect(folder: Path, given: Mapping[str, bytes]) -> tuple[OutputFile, ...]:
    """Returns the regular files that a dead program left, without its own source and unchanged input, name by name.

    At most `MAX_LISTED_FILES` are listed; text comes along while it is small.
    """
    files: list[OutputFile] = []
    text_budget = _MAX_ALL_TEXT_BYTES
    try:
        paths = sorted(entry.path for entry in _walk(folder) if entry.is_file(follow_symlinks=False))
    except TooManyFiles:
        return ()
    for path in map(Path, paths):
        name = str(path.relative_to(folder))
        if len(files) == MAX_LISTED_FILES or not _is_utf8(name):
            continue
        path.chmod(0o600)
        with open(path, "rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        if name == MAIN or (name in given and hashlib.sha256(given[name]).hexdigest() == sha256):
            continue
        size = path.stat().st_size
        text = _read_text(path) if size <= min(MAX_TEXT_BYTES, text_budget) else None
        text_budget -= len(text or "")
        files.append(OutputFile(name, size, sha256, text))
    return tuple(files)


def remove(folder: Path) -> None:
    """Removes a folder whatever was done in it: any depth, any mode, any number of files."""
    # Deep trees are brought up level by level: their paths would be too long, and their depth too much for recursion.
    folder.chmod(0o700)
    serial = 0
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    serial += 1
                    # A directory that is moved must be writable itself.
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, folder / f"{secrets.token_hex(8)}-{serial}")
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)
    folder.rmdir()


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    pending = [(str(folder), 0)]
    while pending:
        path, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise TooManyFiles
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        pending.append((entry.path, depth + 1))
        except FileNotFoundError:
            continue
        except OSError as error:
            # Made unreadable: what cannot be measured is over the limit.
            raise TooManyFiles from error


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
