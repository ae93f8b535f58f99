"""One supervised process: started, probed until it is healthy, started again when it dies, drained at the end."""

import asyncio
import os
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

PROBE_INTERVAL_S = 0.15
LOG_BYTES = 5_000_000
LOGS_KEPT = 3


class ChildState(StrEnum):
    """A child's life."""

    STARTING = "starting"
    HEALTHY = "healthy"
    WAITING = "waiting"
    """It died, and is started again after a while."""
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServiceSpec:
    """What is to run."""

    name: str
    command: tuple[str, ...]
    is_healthy: Callable[[int], Awaitable[bool]]
    """Whether the process with this id serves; never raises."""
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a dead process is started again."""

    first_s: float = 0.2
    longest_s: float = 10.0
    reset_after_s: float = 60.0
    """A process that lived so long starts from `first_s` again."""


class Child:
    """Keeps one process alive. `on_death` hears of each death: name, exit code, seconds until the next start."""

    def __init__(
        self, spec: ServiceSpec, log_path: Path, on_death: Callable[[str, int, float], None], backoff: Backoff
    ) -> None:
        self.spec = spec
        self.log_path = log_path
        self.state = ChildState.STOPPED
        self.restarts = 0
        self.healthy_after_s = 0.0
        """From the last start to healthy."""
        self.healthy = asyncio.Event()
        self._on_death = on_death
        self._backoff = backoff
        self._process: Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int:
        """The process id; 0 while there is no process."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def supervise(self) -> None:
        """Run the process, again and again, until `stop` is called."""
        rotate(self.log_path)
        delay_s = self._backoff.first_s
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if time.monotonic() - started >= self._backoff.reset_after_s:
                delay_s = self._backoff.first_s
            self.state = ChildState.WAITING
            self._on_death(self.spec.name, code, delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            self.restarts += 1
            delay_s = min(delay_s * 2, self._backoff.longest_s)
        self.state = ChildState.STOPPED

    async def stop(self, grace_s: float) -> None:
        """Ask the process to stop; kill it when it has not after `grace_s` seconds."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            _kill_group(process.pid)
            await process.wait()

    async def _run_once(self) -> int:
        self.state = ChildState.STARTING
        self.healthy.clear()
        with self.log_path.open("ab") as log:
            # a session of its own: Ctrl-C at the terminal is for the supervisor, which then drains in order
            process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(self.spec.environ),
                start_new_session=True,
            )
        self._process = process
        if self._stopping.is_set():  # `stop` was called while it was being started
            process.terminate()
        probing = asyncio.create_task(self._probe(process.pid))
        try:
            return await process.wait()
        finally:
            probing.cancel()
            _kill_group(process.pid)  # what it left behind would hold its doors

    async def _probe(self, pid: int) -> None:
        started = time.monotonic()
        # another process gives no event to wait for
        while not await self.spec.is_healthy(pid):
            await asyncio.sleep(PROBE_INTERVAL_S)
        self.healthy_after_s = time.monotonic() - started
        self.state = ChildState.HEALTHY
        self.healthy.set()


def rotate(path: Path) -> None:
    """Move a log that has grown large aside, and keep a few."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size < LOG_BYTES:
        return
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
