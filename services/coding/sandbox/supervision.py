"""Watches one running program from outside and ends it when it passes a limit."""

import asyncio
import os
import signal
import stat
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

from services.coding.sandbox.limits import Limits
from services.coding.sandbox.scratch import TooManyFiles, measure

_FIRST_LOOK_S = 0.005
_LOOK_EVERY_S = 0.05
_READ_BYTES = 64 * 2**10


class Supervision:
    """Holds one process to those limits that the kernel does not hold it to by itself."""

    def __init__(self, process: Process, folder: Path, limits: Limits) -> None:
        self._process = process
        self._folder = folder
        self._limits = limits
        self._output_left = limits.output_bytes
        self.broken_limit = ""
        """The first limit that made us end the process."""
        self.is_output_truncated = False
        self.peak_memory_bytes = 0

    def end(self, limit: str = "") -> None:
        """Kills the process, and says because of which limit, if any; harmless when it is dead."""
        if self._process.returncode is not None:
            return
        self.broken_limit = self.broken_limit or limit
        # Not Process.kill(): it reaps the child, behind the back of the watcher that waits for it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def attend(self, stdin: bytes) -> tuple[bytes, bytes, int]:
        """Feeds stdin and returns stdout and stderr, as far as they are within the limit, and the return code.

        The process is dead and reaped when this returns, is cancelled, or raises.
        """
        process = self._process
        assert process.stdin and process.stdout and process.stderr
        async with asyncio.TaskGroup() as tasks:
            try:
                watch = tasks.create_task(self._watch())
                tasks.create_task(feed(process.stdin, stdin))
                stdout = tasks.create_task(self._read(process.stdout))
                stderr = tasks.create_task(self._read(process.stderr))
                code = await process.wait()
            finally:
                self.end()
                await process.wait()
                watch.cancel()
        return stdout.result(), stderr.result(), code

    async def _watch(self) -> None:
        pause = _FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_EVERY_S)
            with suppress(FileNotFoundError, ProcessLookupError):
                self._look()

    async def _read(self, stream: asyncio.StreamReader) -> bytes:
        kept = bytearray()
        while data := await stream.read(_READ_BYTES):
            kept += data[: self._output_left]
            if len(data) > self._output_left:
                # Also when the program is dead by now: it has written too much.
                self.is_output_truncated = True
                self.broken_limit = self.broken_limit or "output_bytes"
                self.end()
            self._output_left -= min(len(data), self._output_left)
        return bytes(kept)

    def _look(self) -> None:
        process = Path("/proc", str(self._process.pid))
        self.peak_memory_bytes = max(self.peak_memory_bytes, _peak_memory_bytes(process))
        if os.stat(process / "task").st_nlink - 2 > self._limits.threads:
            self.end("threads")
        try:
            used = measure(self._folder) + _unlinked_bytes(process)
        except TooManyFiles:
            self.end("files")
        else:
            if used > self._limits.scratch_bytes:
                self.end("scratch_bytes")


async def feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    """Write `data` and close; a program need not read it, and may have ended before."""
    if stream.is_closing():  # uvloop refuses a write then with an error that says nothing of pipes
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


def _peak_memory_bytes(process: Path) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _unlinked_bytes(process: Path) -> int:
    """Returns what files take that have no name any more but are still open."""
    try:
        fds = os.listdir(process / "fd")
    except PermissionError:
        # Which only a dying process refuses to its own user: the filter keeps a living one from doing so.
        return 0
    total = 0
    for fd in fds:
        with suppress(FileNotFoundError):
            status = os.stat(process / "fd" / fd)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                total += status.st_size
    return total
