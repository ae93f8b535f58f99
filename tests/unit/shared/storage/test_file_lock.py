"""One process for each folder, until it is gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.storage.file_lock import holder, locked

HOLD = "import sys; from pathlib import Path; from shared.storage.file_lock import locked\n"
HOLD += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "agent.lock"


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **pipes) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_holder_is_refused_and_told_who_the_first_is(path: Path, other: subprocess.Popen[str]) -> None:
    with pytest.raises(StorageUnavailable, match=f"is in use by process {other.pid}") as caught, locked(path):
        pytest.fail("two at once")
    assert "WAYSTATION_HOME" in caught.value.remedy
    assert holder(path) == other.pid


def test_a_killed_holder_frees_it(path: Path, other: subprocess.Popen[str]) -> None:
    other.send_signal(signal.SIGKILL)
    with locked(path, patience_s=5):
        assert holder(path) == os.getpid()


def test_patience_has_an_end(path: Path, other: subprocess.Popen[str]) -> None:
    started = time.monotonic()
    with pytest.raises(StorageUnavailable), locked(path, patience_s=0.1):
        pytest.fail("two at once")
    assert 0.1 <= time.monotonic() - started < 60


def test_nobody_holds_what_was_released_or_never_was(path: Path) -> None:
    assert holder(path) == 0
    with locked(path):
        assert holder(path) == os.getpid()
    assert holder(path) == 0


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable, match="cannot be used"), locked(tmp_path / "file" / "agent.lock"):
        pytest.fail("locked")
