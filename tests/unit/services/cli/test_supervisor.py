"""The supervisor over tiny real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from services.cli.child import LOG_BYTES, Backoff, ServiceSpec, rotate
from services.cli.supervisor import Supervisor

SERVE = "import pathlib, signal; pathlib.Path({path!r}).write_text('up'); signal.pause()"
STUBBORN = "import signal, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SERVE.removeprefix(
    "import pathlib, signal;"
)
QUICK = Backoff(first_s=0.01, longest_s=0.05)


def spec(folder: Path, name: str, program: str = SERVE) -> ServiceSpec:
    """A process that is healthy once it has written its file."""
    marker = folder / f"{name}.up"

    async def is_healthy(pid: int) -> bool:
        return marker.exists()

    command = (sys.executable, "-S", "-c", program.format(path=str(marker)))
    return ServiceSpec(name, command, is_healthy, dict(os.environ))


@asynccontextmanager
async def supervised(
    folder: Path, *specs: ServiceSpec, on_death: Callable[[str, int, float], None] = lambda *_: None
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(specs, folder / "logs", on_death, QUICK)
    supervisor.start()
    try:
        assert await supervisor.wait_until_healthy(20)
        yield supervisor
    finally:
        await supervisor.stop(grace_s=5)


async def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    died = asyncio.Event()
    deaths: list[tuple[str, int]] = []

    def on_death(name: str, code: int, delay_s: float) -> None:
        deaths.append((name, code))
        died.set()

    async with supervised(tmp_path, spec(tmp_path, "rag"), on_death=on_death) as supervisor:
        child = supervisor.children["rag"]
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await asyncio.wait_for(died.wait(), 10)
        assert await supervisor.wait_until_healthy(10)
        await asyncio.wait_for(_until_other(child, first), 10)
        assert psutil.pid_exists(child.pid)
    assert deaths == [("rag", -signal.SIGKILL)]
    assert child.restarts == 1


async def _until_other(child: object, pid: int) -> None:
    while child.pid in (0, pid):  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)


async def test_the_pause_between_starts_grows_to_its_bound(tmp_path: Path) -> None:
    delays: list[float] = []
    enough = asyncio.Event()

    def on_death(name: str, code: int, delay_s: float) -> None:
        delays.append(delay_s)
        if len(delays) == 5:
            enough.set()

    supervisor = Supervisor([spec(tmp_path, "rag", "raise SystemExit(3)")], tmp_path, on_death, QUICK)
    supervisor.start()
    await asyncio.wait_for(enough.wait(), 20)
    await supervisor.stop(grace_s=1)
    assert delays == [0.01, 0.02, 0.04, 0.05, 0.05]


async def test_stopping_ends_every_process_and_starts_none(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec(tmp_path, "agent"), spec(tmp_path, "control")) as supervisor:
        pids = [child.pid for child in supervisor.children.values()]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert all(child.pid == 0 and child.restarts == 0 for child in supervisor.children.values())


async def test_a_process_that_does_not_drain_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor([spec(tmp_path, "rag", STUBBORN)], tmp_path, lambda *_: None, QUICK)
    supervisor.start()
    assert await supervisor.wait_until_healthy(20)
    pid = supervisor.children["rag"].pid
    await asyncio.wait_for(supervisor.stop(grace_s=0.1), 20)
    assert not psutil.pid_exists(pid)


async def test_one_that_never_gets_healthy_is_noticed(tmp_path: Path) -> None:
    supervisor = Supervisor([spec(tmp_path, "rag", "import signal; signal.pause()")], tmp_path, lambda *_: None, QUICK)
    supervisor.start()
    assert not await supervisor.wait_until_healthy(0.2)
    await supervisor.stop(grace_s=5)


@pytest.mark.parametrize("size, is_moved", [(LOG_BYTES, True), (LOG_BYTES - 1, False)])
def test_a_large_log_is_moved_aside(tmp_path: Path, size: int, is_moved: bool) -> None:
    log = tmp_path / "rag.log"
    log.touch()
    os.truncate(log, size)
    rotate(log)
    assert (tmp_path / "rag.log.1").exists() is is_moved
    assert log.exists() is not is_moved
