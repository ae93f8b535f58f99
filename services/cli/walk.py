"""Finds the files to ingest: folders are walked, what is no document is passed over, loops are not followed."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import NotFound

IGNORED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "env", "site-packages", "dist", "build", "target"})


@dataclass(frozen=True)
class FoundFile:
    """A file to ingest."""

    path: Path
    source: str
    """Its name in the index: relative to the working folder when it is below it, otherwise absolute."""
    size_bytes: int


@dataclass(frozen=True)
class PassedOver:
    """A file that is not sent, and why."""

    source: str
    message: str


def find_files(paths: Iterable[Path], max_bytes: int) -> Iterator[FoundFile | PassedOver]:
    """Each file once, in a stable order. A path given by name is taken even when a walk would ignore it.

    Raises `NotFound` when a given path does not exist.
    """
    seen: set[tuple[int, int]] = set()
    for given in paths:
        if not given.exists():
            raise NotFound(f"There is no file or folder {given}.", remedy="Check the path.", path=given)
        for path in _walk(given) if given.is_dir() else (given,):
            found = _look_at(path, max_bytes, seen)
            if found:
                yield found


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):  # links to folders are not followed, so loops cannot be
        folders[:] = sorted(name for name in folders if not _is_ignored(Path(root), name))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith("."))


def _is_ignored(root: Path, name: str) -> bool:
    return name.startswith(".") or name in IGNORED_FOLDERS or (root / name / "pyvenv.cfg").exists()


def _look_at(path: Path, max_bytes: int, seen: set[tuple[int, int]]) -> FoundFile | PassedOver | None:
    source = source_of(path)
    try:
        source.encode()
    except UnicodeEncodeError:
        return PassedOver(ascii(source), "Its name is not UTF-8.")
    try:
        facts = path.stat()
    except OSError as error:
        return PassedOver(source, f"It cannot be read: {error.strerror}.")
    identity = (facts.st_dev, facts.st_ino)
    if identity in seen:
        return None
    seen.add(identity)
    if not stat.S_ISREG(facts.st_mode):
        return PassedOver(source, "It is not a regular file.")
    if facts.st_size > max_bytes:
        return PassedOver(source, f"It has {facts.st_size:,} bytes; the limit is {max_bytes:,} (--max-mb).")
    return FoundFile(path, source, facts.st_size)


def source_of(path: Path) -> str:
    """The name under which the user knows the file."""
    absolute, here = Path(os.path.abspath(path)), Path.cwd()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else absolute.as_posix()
