"""The sandbox as programs and callers that mean well see it, and what it does when it cannot confine."""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from services.coding.sandbox import sandbox as sandbox_module
from services.coding.sandbox.execution import OutputFile, State
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.program import Program
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot
from shared.errors import InvalidInput, LimitExceeded, SandboxUnavailable

SLEEPER = "import time\nopen('started', 'w').close()\ntime.sleep(60)"


async def until(is_so: Callable[[], object]) -> None:
    """Waits until the condition holds."""
    for _ in range(4000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("waited in vain")


@asynccontextmanager
async def running(sandbox: Sandbox, root: ScratchRoot) -> AsyncIterator[tuple["asyncio.Task[object]", psutil.Process]]:
    """A sandboxed program in mid-run, with its process."""
    run = asyncio.create_task(sandbox.run(Program(SLEEPER)))
    await until(lambda: list(root.path.glob("*/started")))
    (process,) = psutil.Process().children()
    try:
        yield run, process
    finally:
        run.cancel()
        await asyncio.wait([run])


async def test_a_program_gets_stdin_arguments_and_files(sandbox: Sandbox) -> None:
    code = "import sys, half\nprint(sys.argv[1:], input(), half.of(8), open('data/in.txt').read())"
    files = {"half.py": b"def of(n): return n // 2", "data/in.txt": "größer".encode()}
    execution = await sandbox.run(Program(code, stdin="a line\n", arguments=("x", "ä y"), files=files))
    assert execution.is_success
    assert execution.stdout == "['x', 'ä y'] a line 4 größer\n"


async def test_new_and_changed_files_come_back(sandbox: Sandbox) -> None:
    code = """
import os
os.mkdir("out")
open("out/b.txt", "w").write("text")
open("a.bin", "wb").write(b"\\xff\\x00")
open("changed.txt", "a").write("!")
os.symlink  # present, though refused
"""
    execution = await sandbox.run(Program(code, files={"changed.txt": b"more", "kept.txt": b"same"}))
    assert [(file.name, file.size_bytes, file.text) for file in execution.files] == [
        ("a.bin", 2, None),
        ("changed.txt", 5, "more!"),
        ("out/b.txt", 4, "text"),
    ]
    assert execution.files[2] == OutputFile(
        "out/b.txt", 4, "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1", "text"
    )


@pytest.mark.parametrize(
    ("code", "exit_code", "signal_name", "stderr"),
    [
        ("raise SystemExit(3)", 3, "", ""),
        ("1/0", 1, "", 'File "main.py", line 1, in <module>'),
        ("def f(:", 1, "", "SyntaxError"),
        ("import numpy", 1, "", "ModuleNotFoundError"),
        ("input()", 1, "", "EOFError"),
        ("import os; os.abort()", -1, "SIGABRT", ""),
        ("import os; os.kill(os.getpid(), 15)", -1, "SIGTERM", ""),
        ("import os; os.kill(os.getpid(), 40)", -1, "SIGRTMIN+6", ""),
    ],
)
async def test_a_failure_says_how_it_came_about(
    sandbox: Sandbox, code: str, exit_code: int, signal_name: str, stderr: str
) -> None:
    execution = await sandbox.run(Program(code))
    assert (execution.state, execution.exit_code, execution.signal) == (State.FAILED, exit_code, signal_name)
    assert stderr in execution.stderr


async def test_the_scratch_folders_path_stays_out_of_tracebacks(sandbox: Sandbox, scratch_root: ScratchRoot) -> None:
    execution = await sandbox.run(Program("1/0"))
    assert str(scratch_root.path) not in execution.stderr


async def test_what_programs_commonly_do_with_the_standard_library_works(sandbox: Sandbox) -> None:
    code = """
import asyncio, concurrent.futures, contextlib, ctypes, datetime, decimal, hashlib, io, json, locale, logging, lzma
import os, random, shutil, sqlite3, ssl, tarfile, tempfile, threading, time, unittest, uuid, zipfile, zoneinfo
assert asyncio.run(asyncio.sleep(0, "slept")) == "slept"
async def both(): return await asyncio.gather(asyncio.to_thread(len, "ab"), asyncio.sleep(0, 3))
assert asyncio.run(both()) == [2, 3]
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert list(pool.map(abs, [-1, -2])) == [1, 2]
db = sqlite3.connect("data.db"); db.execute("create table t (a)"); db.execute("insert into t values (1)"); db.commit()
assert datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")).utcoffset().seconds == 7200
assert time.tzname[0] == "UTC"
with tempfile.TemporaryDirectory() as folder:
    open(os.path.join(folder, "a"), "w").write("a")
    shutil.copy2(os.path.join(folder, "a"), "b"); shutil.copytree(folder, "copy"); shutil.move("copy/a", "moved")
    with zipfile.ZipFile("z.zip", "w") as archive: archive.write("b")
    with tarfile.open("t.tgz", "w:gz") as archive: archive.add("b")
    with tarfile.open("t.tgz") as archive: archive.extractall("unpacked")
assert open("unpacked/b").read() == open("moved").read() == "a"
assert os.path.expanduser("~") == os.getcwd() and os.cpu_count() and len(os.urandom(8)) == 8
os.system  # present, though refused
uuid.uuid4(); uuid.uuid1(); random.SystemRandom().random(); logging.warning("to stderr")
callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1); assert callback(1) == 2
timer = threading.Timer(0.01, lambda: print("timer")); timer.start(); timer.join()
print("done")
"""
    execution = await sandbox.run(Program(code))
    assert (execution.stdout, execution.is_success) == ("timer\ndone\n", True), execution.stderr


async def test_output_that_is_not_utf8_is_shown_with_replacements(sandbox: Sandbox) -> None:
    execution = await sandbox.run(Program(r"import os; os.write(1, b'a\xffb')"))
    assert execution.stdout == "a\ufffdb"


async def test_stdin_that_is_not_read_does_no_harm(sandbox: Sandbox) -> None:
    execution = await sandbox.run(Program("print('done')", stdin="x" * 2**20))
    assert execution.is_success


async def test_limits_can_be_tightened_but_not_widened() -> None:
    limits = Limits(wall_time=timedelta(seconds=5))
    assert limits.tightened(wall_time=timedelta(seconds=60), threads=2) == Limits(
        wall_time=timedelta(seconds=5), threads=2
    )
    with pytest.raises(InvalidInput, match="wall_time"):
        limits.tightened(wall_time=timedelta(seconds=-1))
    with pytest.raises(InvalidInput, match="memory_bytes"):
        limits.tightened(memory_bytes=1)


async def test_programs_run_side_by_side_up_to_the_bound_and_others_wait(scratch_root: ScratchRoot) -> None:
    sandbox = Sandbox(scratch_root, Limits(), Gate(max_running=1, max_waiting=1))
    async with running(sandbox, scratch_root) as (first, _):
        second = asyncio.create_task(sandbox.run(Program("print('second')")))
        await asyncio.sleep(0)
        with pytest.raises(LimitExceeded, match="wait for a sandbox"):
            await sandbox.run(Program("print('third')"))
        first.cancel()
        assert (await second).stdout == "second\n"


async def test_a_cancelled_program_is_dead_and_swept_at_once(sandbox: Sandbox, scratch_root: ScratchRoot) -> None:
    async with running(sandbox, scratch_root) as (run, process):
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not process.is_running()
        assert list(scratch_root.path.iterdir()) == []


async def test_a_program_has_no_capabilities_and_gains_none(sandbox: Sandbox, scratch_root: ScratchRoot) -> None:
    async with running(sandbox, scratch_root) as (_, process):
        status = read_status(process.pid)
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == int(status["CapAmb"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def read_status(pid: int) -> dict[str, str]:
    """The fields of /proc/<pid>/status."""
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


async def test_a_killed_service_leaves_no_program_behind_and_the_next_one_sweeps_up(tmp_path: Path) -> None:
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, str(tmp_path))
    try:
        await until(lambda: list(tmp_path.glob("*/*/started")))
        (program,) = psutil.Process(service.pid).children()
    finally:
        service.kill()
        await service.wait()
    await until(lambda: not program.is_running() or program.status() == psutil.STATUS_ZOMBIE)
    root = ScratchRoot(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([root.path.name, "lock"])
    root.close()


SERVICE = f"""
import asyncio, sys
from pathlib import Path
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.limits import Limits
from services.coding.sandbox.program import Program
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot

async def main():
    sandbox = Sandbox(ScratchRoot(Path(sys.argv[1])), Limits(), Gate(1, 1))
    await sandbox.run(Program({SLEEPER!r}))

asyncio.run(main())
"""


def wrong_jail(tmp_path: Path, body: str) -> Path:
    """A jail that does something else than confining."""
    path = tmp_path / "jail.py"
    path.write_text(f"import marshal, os, sys\norder = marshal.loads(bytes.fromhex(sys.argv[1]))\n{body}")
    return path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.write(order['status_fd'], b'OSError: Landlock: not there')", "Landlock: not there"),
        ("raise SystemExit", "ended before"),
        (
            "os.chdir(order['scratch']); os.write(order['status_fd'], b'ok')\n"
            "os.execve(order['command'][0], order['command'], order['environment'])",
            "a read of /proc",
        ),
    ],
    ids=["a kernel without Landlock", "a jail that dies", "walls that do not hold"],
)
async def test_no_program_runs_where_the_sandbox_does_not_hold(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    monkeypatch.setattr(sandbox_module, "_JAIL", wrong_jail(tmp_path, body))
    with pytest.raises(SandboxUnavailable, match=message) as raised:
        await sandbox.run(Program(f"open({str(tmp_path / 'ran')!r}, 'w')"))
    assert "Landlock" in raised.value.remedy
    assert not (tmp_path / "ran").exists()


async def test_without_libseccomp_the_remedy_is_named(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError("Unable to find libseccomp")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SandboxUnavailable, match="libseccomp2"):
        await sandbox.run(Program("print(1)"))


@pytest.mark.parametrize(
    "program",
    [
        {"code": ""},
        {"code": " \n"},
        {"code": "print('\0')"},
        {"code": "x" * (256 * 2**10 + 1)},
        {"code": "print('\ud800')"},
        {"code": "1", "stdin": "x" * (8 * 2**20 + 1)},
        {"code": "1", "arguments": ("a\0",)},
        {"code": "1", "arguments": ("x" * 20_000,)},
        {"code": "1", "arguments": ("x",) * 65},
        {"code": "1", "files": {"../x": b""}},
        {"code": "1", "files": {"/x": b""}},
        {"code": "1", "files": {"a/../../x": b""}},
        {"code": "1", "files": {"": b""}},
        {"code": "1", "files": {"main.py": b""}},
        {"code": "1", "files": {"x\0": b""}},
        {"code": "1", "files": {"x" * 256: b""}},
        {"code": "1", "files": {"a/" * 9 + "b": b""}},
        {"code": "1", "files": {str(number): b"" for number in range(65)}},
        {"code": "1", "files": {"x": b"x" * (8 * 2**20 + 1)}},
    ],
)
def test_a_malformed_program_is_refused(program: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Program(**program)  # type: ignore[arg-type]
