"""One supervisor for each data folder: a file lock that the kernel releases when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import AlreadyExists


def lock_path(home: Path) -> Path:
    """The lock file of a data folder. It stays when the lock is released."""
    return home / "run" / "up.lock"


@contextmanager
def up_lock(home: Path) -> Iterator[None]:
    """Hold the lock of a data folder. Raises `AlreadyExists`, which names the process that has it."""
    path = lock_path(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(path)
            raise AlreadyExists(
                f"Waystation is already up on {home} (process {pid}).",
                remedy="Stop it with `waystation down`, or set WAYSTATION_HOME to another folder.",
                pid=pid,
                path=home,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def holder(home: Path) -> int:
    """The id of the process that holds the lock; 0 when nobody does."""
    path = lock_path(home)
    if not path.exists():
        return 0
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid_in(path)
    return 0


def _pid_in(path: Path) -> int:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else 0
