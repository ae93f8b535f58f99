"""Runs a program in a process of its own that the kernel confines: see docs/coding.md for what that keeps out."""

import asyncio
import glob
import marshal
import math
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from time import monotonic

from opentelemetry import trace

from services.coding.sandbox.execution import Execution, State
from services.coding.sandbox.filter import OWN_PID_PLACEHOLDER, compile_filter
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.program import MAIN, Program
from services.coding.sandbox.scratch import ScratchRoot, collect, remove
from services.coding.sandbox.supervision import Supervision
from shared.errors import SandboxUnavailable
from shared.telemetry import attributes

tracer = trace.get_tracer(__name__)

_JAIL = Path(__file__).with_name("jail.py")
_OPEN_FILES = 64
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")
_RANDOM_DEVICES = ("/dev/urandom", "/dev/random")
_REMEDY = (
    "Run the coding service on Linux 5.13 or newer with Landlock enabled (see /sys/kernel/security/lsm; boot option"
    " lsm=landlock,…) and, in a container, with a seccomp profile that permits the landlock system calls."
)
_PROBE = """
import os, socket
tries = {
    "a read of /proc": lambda: open("/proc/self/status"),
    "a read of /etc": lambda: os.listdir("/etc"),
    "a write outside": lambda: open("../probe", "w"),
    "a socket": socket.socket,
    "another process": os.fork,
    "a signal": lambda: os.kill(os.getppid(), 0),
}
for name, attempt in tries.items():
    try:
        attempt()
    except PermissionError:
        continue
    os.write(1, name.encode())
    os._exit(1)
open("inside", "w").close()
print("confined")
"""


class Sandbox:
    """Runs untrusted Python programs, a bounded number at once; the standard library is all they can import."""

    def __init__(self, scratch: ScratchRoot, limits: Limits, gate: Gate) -> None:
        self._scratch = scratch
        self._gate = gate
        self._checking = asyncio.Lock()
        self._is_proven = False
        self.limits = limits
        """What a run gets when it asks for nothing less."""

    async def run(self, program: Program, limits: Limits | None = None) -> Execution:
        """Runs the program to its end or to a limit, and leaves neither process nor file.

        Cancelling kills it at once. Raises LimitExceeded when too many wait for a sandbox, SandboxUnavailable when
        this machine cannot confine programs.
        """
        with tracer.start_as_current_span(attributes.SPAN_EXECUTE) as span:
            async with self._gate.slot():
                await self.check()
                execution = await self._run(program, limits or self.limits)
            span.set_attributes(
                {
                    attributes.EXECUTION_STATE: execution.state.value,
                    attributes.EXECUTION_EXIT_CODE: execution.exit_code,
                }
            )
            return execution

    async def check(self) -> None:
        """Proves on a harmless program, once, that the walls stand; raises SandboxUnavailable when they do not."""
        async with self._checking:
            if not self._is_proven:
                await self._probe()
                self._is_proven = True

    async def _probe(self) -> None:
        execution = await self._run(Program(_PROBE), Limits())
        if execution.stdout.strip() != "confined":
            breach = execution.stdout or execution.stderr or execution.describe()
            raise SandboxUnavailable(f"The sandbox does not hold here: {breach}.", remedy=_REMEDY)

    async def _run(self, program: Program, limits: Limits) -> Execution:
        files = {**program.files, MAIN: program.code.encode()}
        folder = await asyncio.to_thread(self._scratch.create, files)
        try:
            return await self._run_in(folder, program, limits)
        finally:
            await asyncio.shield(asyncio.to_thread(remove, folder))

    async def _run_in(self, folder: Path, program: Program, limits: Limits) -> Execution:
        started = monotonic()
        status_in, status_out = os.pipe()
        try:
            process = await self._start(folder, program, limits, status_out)
        except BaseException:
            os.close(status_in)
            raise
        finally:
            os.close(status_out)
        supervision = Supervision(process, folder, limits)
        alarm = asyncio.get_running_loop().call_later(limits.wall_time.total_seconds(), supervision.end, "wall_time")
        try:
            stdout, stderr, code = await supervision.attend(program.stdin.encode())
            status = os.read(status_in, 4096)
        finally:
            alarm.cancel()
            os.close(status_in)
        if status != b"ok" and not supervision.broken_limit:
            reason = _text(status) or "it ended before the program began"
            raise SandboxUnavailable(f"The sandbox cannot be set up here: {reason}.", remedy=_REMEDY)
        limit = supervision.broken_limit or _limit_behind(code, stderr, monotonic() - started, limits)
        return Execution(
            state=State.LIMIT_EXCEEDED if limit else State.FAILED if code else State.SUCCEEDED,
            exit_code=max(code, -1),
            signal=_signal_name(-code) if code < 0 else "",
            limit=limit,
            stdout=_text(stdout),
            stderr=_text(stderr).replace(f"{folder}/", ""),
            is_output_truncated=supervision.is_output_truncated,
            duration=timedelta(seconds=monotonic() - started),
            peak_memory_bytes=supervision.peak_memory_bytes,
            files=await asyncio.to_thread(collect, folder, program.files),
        )

    async def _start(self, folder: Path, program: Program, limits: Limits, status_fd: int) -> Process:
        order = {
            "parent_pid": os.getpid(),
            "status_fd": status_fd,
            "scratch": str(folder),
            "readable": (*_SYSTEM_LIBRARIES, *_RANDOM_DEVICES, os.path.join(sys.base_prefix, "lib")),
            "executable": (_interpreter(), *glob.glob("/lib*/ld-*.so*")),
            "command": (_interpreter(), "-s", "-S", "-B", "-u", "-X", "utf8", MAIN, *program.arguments),
            "environment": {"HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", "TZ": "UTC"},
            "rlimits": _rlimits(limits),
            "filter": self._filter,
            "own_pid_placeholder": OWN_PID_PLACEHOLDER,
        }
        return await asyncio.create_subprocess_exec(
            _interpreter(), "-I", "-S", "-B", str(_JAIL), marshal.dumps(order).hex(),
            stdin=PIPE, stdout=PIPE, stderr=PIPE, env={}, cwd="/", pass_fds=(status_fd,), start_new_session=True,
        )  # fmt: skip

    @cached_property
    def _filter(self) -> bytes:
        return compile_filter()


def _interpreter() -> str:
    # The one that made the virtual environment: it knows the standard library and nothing else.
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _rlimits(limits: Limits) -> dict[str, tuple[int, int]]:
    cpu_s = math.ceil(limits.cpu_time.total_seconds())
    return {
        "RLIMIT_AS": (limits.memory_bytes, limits.memory_bytes),
        # At the first the kernel sends SIGXCPU, at the second SIGKILL.
        "RLIMIT_CPU": (cpu_s, cpu_s + 1),
        "RLIMIT_FSIZE": (limits.scratch_bytes, limits.scratch_bytes),
        "RLIMIT_NOFILE": (_OPEN_FILES, _OPEN_FILES),
        "RLIMIT_CORE": (0, 0),
    }


def _limit_behind(code: int, stderr: bytes, elapsed_s: float, limits: Limits) -> str:
    """Returns the limit by which the kernel, not we, ended the program; empty when there is none."""
    if code == -signal.SIGXCPU:
        return "cpu_time"
    if code == -signal.SIGKILL:
        # Either SIGXCPU was ignored, or the kernel ran out of memory: programs cannot send themselves more than that.
        return "cpu_time" if elapsed_s > limits.cpu_time.total_seconds() else "memory_bytes"
    if code == 1 and stderr.rstrip().rpartition(b"\n")[2].startswith(b"MemoryError"):
        return "memory_bytes"
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
