"""Programs that try to get out of the sandbox, or to take more than their share: each really runs."""

import os
import socket
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from services.coding.sandbox.execution import State
from services.coding.sandbox.program import Program
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot

x86_64_only = pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64")

ATTEMPTS = [
    "socket.socket()",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_INET6)",
    "socket.socket(socket.AF_UNIX)",
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "socket.create_connection(('127.0.0.1', 22))",
    "open('/etc/passwd')",
    "open('/etc/hostname')",
    "os.listdir('/')",
    "os.listdir('/root')",
    "os.listdir('/home')",
    "os.listdir(os.path.dirname(os.getcwd()))",
    "open(f'/proc/{os.getppid()}/environ')",
    "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "os.readlink(f'/proc/{os.getppid()}/cwd')",
    "os.listdir(f'/proc/{os.getppid()}/fd')",
    "open('/proc/self/environ')",
    "open('/proc/1/cmdline')",
    "open('/dev/mem', 'rb')",
    "open('/dev/kmem', 'rb')",
    "open('/dev/shm/x', 'w')",
    "open('/dev/tty', 'w')",
    "open('/tmp/escaped', 'w')",
    "open('../escaped', 'w')",
    "open(os.__file__, 'a')",
    "os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)",
    "os.truncate(os.__file__, 0)",
    "os.unlink(os.__file__)",
    "os.rename('../', '../../gone')",
    "os.rmdir(os.getcwd())",
    "shutil.rmtree('..')",
    "os.symlink('/etc/passwd', 'inside')",
    "os.link(os.__file__, 'inside')",
    "os.rename(os.__file__, 'inside')",
    "os.mkfifo('pipe')",
    "os.mknod('device', 0o666 | stat.S_IFCHR, os.makedev(1, 1))",
    "os.chown('main.py', 1, 1)",
    "os.setxattr('main.py', 'user.x', b'1')",
    "os.fork()",
    "os.forkpty()",
    "os.posix_spawn(sys.executable, [sys.executable], {})",
    "subprocess.run([sys.executable, '-c', '1'])",
    "os.execv('/bin/sh', ['sh'])",
    "os.kill(os.getppid(), 9)",
    "os.kill(os.getppid(), 0)",
    "os.kill(-1, 9)",
    "os.kill(0, 9)",
    "os.killpg(os.getpgid(os.getppid()), 9)",
    "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
    "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "fcntl.fcntl(os.pipe()[0], 10, 9)",
    "fcntl.ioctl(0, termios.TIOCSTI, b'x')",
    "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "os.sched_setaffinity(os.getppid(), {0})",
    "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
    "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
    "os.memfd_create('x')",
    "os.setsid()",
    "os.setuid(0)",
    "os.chroot('.')",
]

RAW_CALLS = {
    "ptrace": "(101, 16, os.getppid(), 0, 0)",
    "unshare": "(272, 0x10000000)",
    "mount": "(165, b'none', b'.', b'tmpfs', 0, 0)",
    "keyctl": "(250, 0, 0, 0, 0, 0)",
    "add_key": "(248, b'user', b'x', b'y', 1, 0)",
    "bpf": "(321, 0, 0, 0)",
    "io_uring_setup": "(425, 8, 0)",
    "userfaultfd": "(323, 0)",
    "perf_event_open": "(298, 0, 0, -1, -1, 0)",
    "process_vm_readv": "(310, os.getppid(), 0, 0, 0, 0, 0)",
    "pidfd_open": "(434, os.getppid(), 0)",
    "setns": "(308, 0, 0)",
    "memfd_create": "(319, b'x', 0)",
    "shmget": "(29, 0, 4096, 0o1600)",
    "prctl PR_SET_PDEATHSIG": "(157, 1, 0, 0, 0, 0)",
    "clone with a new process": "(56, 17, 0, 0, 0, 0)",
    "vfork": "(58,)",
    "rt_sigqueueinfo": "(129, os.getppid(), 9, 0)",
    "tkill": "(200, os.getppid(), 9)",
    "sendmsg": "(46, 1, 0, 0)",
    "open_by_handle_at": "(304, 0, 0, 0)",
    "name_to_handle_at": "(303, -100, b'/', 0, 0, 0)",
    "landlock_create_ruleset": "(444, 0, 0, 1)",
    "capset": "(126, 0, 0)",
    "a number of the future": "(600,)",
}
"""By name: number and arguments on x86-64."""


async def output_of(sandbox: Sandbox, code: str, **limits: object) -> str:
    """Runs a program that reports on itself; it has to come to its end."""
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(**limits))  # type: ignore[arg-type]
    assert execution.is_success, execution
    return execution.stdout.strip()


async def test_attempts_to_get_out_are_refused(sandbox: Sandbox) -> None:
    code = f"""
import fcntl, os, resource, shutil, signal, socket, stat, subprocess, sys, termios
for attempt in {ATTEMPTS!r}:
    try:
        eval(attempt)
    except (OSError, ValueError):
        continue
    print("passed:", attempt)
print("tried", len({ATTEMPTS!r}))
"""
    assert await output_of(sandbox, code) == f"tried {len(ATTEMPTS)}"


async def test_files_that_this_process_can_read_and_write_are_closed_to_the_program(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o666)
    code = f"""
for mode in "r", "a", "w", "r+":
    try:
        open({str(secret)!r}, mode)
    except PermissionError:
        print(mode, end=" ")
"""
    assert await output_of(sandbox, code) == "r a w r+"
    assert secret.read_text() == "secret"


async def test_mode_and_times_of_files_outside_stay_as_they_are(sandbox: Sandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("")
    before = outside.stat()
    code = f"import os; os.chmod({str(outside)!r}, 0); os.utime({str(outside)!r}, (1, 1)); print('done')"
    assert await output_of(sandbox, code) == "done"
    assert outside.stat() == before


async def test_a_server_on_loopback_is_out_of_reach(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import urllib.request, urllib.error
try:
    urllib.request.urlopen("http://127.0.0.1:{port}", timeout=2)
except urllib.error.URLError as error:
    print(type(error.reason).__name__)
"""
        assert await output_of(sandbox, code) == "PermissionError"


async def test_names_are_not_resolved(sandbox: Sandbox) -> None:
    code = """
import socket
try:
    socket.getaddrinfo("example.org", 80)
except OSError as error:
    print("refused")
"""
    assert await output_of(sandbox, code) == "refused"


async def test_the_environment_of_the_service_does_not_reach_the_program(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    assert await output_of(sandbox, "import os; print(sorted(os.environ))") == "['HOME', 'LANG', 'TMPDIR', 'TZ']"


async def test_only_the_three_standard_streams_are_open(sandbox: Sandbox) -> None:
    code = """
import os
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
print([fd for fd in range(1000) if is_open(fd)])
"""
    assert await output_of(sandbox, code) == "[0, 1, 2]"


@x86_64_only
async def test_raw_system_calls_are_refused(sandbox: Sandbox) -> None:
    code = f"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
for name, call in {RAW_CALLS!r}.items():
    result = libc.syscall(*eval(call))
    print(name, result, errno.errorcode[ctypes.get_errno()])
"""
    assert await output_of(sandbox, code) == "\n".join(f"{name} -1 EPERM" for name in RAW_CALLS)


@x86_64_only
async def test_a_system_call_of_the_32_bit_interface_kills_the_program(sandbox: Sandbox) -> None:
    code = """
import ctypes, mmap
# mov eax, 20 (getpid); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
"""
    execution = await sandbox.run(Program(code))
    assert (execution.state, execution.signal, execution.stdout) == (State.FAILED, "SIGSYS", "")


async def test_a_fork_bomb_gets_no_further_than_its_first_fork(sandbox: Sandbox) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    execution = await sandbox.run(Program("import os\nwhile True: os.fork()"))
    assert execution.state is State.FAILED and "PermissionError" in execution.stderr
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before


async def test_a_thread_bomb_is_ended(sandbox: Sandbox) -> None:
    code = """
import threading, time
threading.stack_size(64 * 1024)
while True: threading.Thread(target=time.sleep, args=(60,)).start()
"""
    execution = await sandbox.run(Program(code))
    assert (execution.state, execution.limit, execution.signal) == (State.LIMIT_EXCEEDED, "threads", "SIGKILL")


async def test_a_memory_bomb_is_ended(sandbox: Sandbox) -> None:
    code = "x = []\nwhile True: x.append(bytearray(2**20))"
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(memory_bytes=96 * 2**20))
    assert (execution.state, execution.limit) == (State.LIMIT_EXCEEDED, "memory_bytes")


async def test_an_endless_loop_is_ended_and_what_it_printed_is_kept(sandbox: Sandbox) -> None:
    limits = sandbox.limits.tightened(wall_time=timedelta(milliseconds=200))
    execution = await sandbox.run(Program("print('so far')\nwhile True: pass"), limits)
    assert (execution.state, execution.limit) == (State.LIMIT_EXCEEDED, "wall_time")
    assert execution.stdout == "so far\n"
    assert execution.duration < timedelta(seconds=1)


async def test_signals_that_can_be_ignored_do_not_keep_a_program_alive(sandbox: Sandbox) -> None:
    code = """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
while True: pass
"""
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(wall_time=timedelta(milliseconds=200)))
    assert execution.limit == "wall_time"


async def test_cpu_time_is_counted_apart_from_wall_time(sandbox: Sandbox) -> None:
    execution = await sandbox.run(
        Program("while True: pass"), sandbox.limits.tightened(cpu_time=timedelta(milliseconds=500))
    )
    assert (execution.state, execution.limit, execution.signal) == (State.LIMIT_EXCEEDED, "cpu_time", "SIGXCPU")


@pytest.mark.parametrize("stream", [1, 2])
async def test_a_flood_of_output_is_cut_off(sandbox: Sandbox, stream: int) -> None:
    code = f"import os\nfor _ in range(16 * 1024): os.write({stream}, b'x' * 65536)"
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(output_bytes=10_000))
    assert (execution.state, execution.limit) == (State.LIMIT_EXCEEDED, "output_bytes")
    assert execution.is_output_truncated and len(execution.stdout + execution.stderr) == 10_000


async def test_one_huge_file_is_refused(sandbox: Sandbox) -> None:
    execution = await sandbox.run(
        Program("f = open('huge', 'wb')\nwhile True: f.write(bytes(2**20))"),
        sandbox.limits.tightened(scratch_bytes=4 * 2**20),
    )
    assert not execution.is_success
    assert execution.limit == "scratch_bytes" or "File too large" in execution.stderr


async def test_many_files_that_are_too_much_together_are_noticed(sandbox: Sandbox) -> None:
    code = """
import time
for number in range(10):
    open(str(number), "wb").write(bytes(2**20))
time.sleep(30)
"""
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(scratch_bytes=4 * 2**20))
    assert execution.limit == "scratch_bytes"


async def test_files_without_a_name_count(sandbox: Sandbox) -> None:
    code = """
import os, time
kept = []
for number in range(10):
    kept.append(open("x", "wb", buffering=0))
    kept[-1].write(bytes(2**20))
    os.unlink("x")
time.sleep(30)
"""
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(scratch_bytes=4 * 2**20))
    assert execution.limit == "scratch_bytes"


@pytest.mark.parametrize(
    "body",
    [
        "for number in range(100_000): open(str(number), 'w').close()",
        "while True:\n    os.mkdir('d')\n    os.chdir('d')",
        "os.mkdir('closed', 0)",
    ],
    ids=["a flood of files", "a bottomless folder", "an unreadable folder"],
)
async def test_a_scratch_folder_past_counting_ends_the_program_and_is_removed(
    sandbox: Sandbox, scratch_root: ScratchRoot, body: str
) -> None:
    execution = await sandbox.run(Program(f"import os, time\n{body}\ntime.sleep(0.2)"))
    assert execution.limit == "files" or (os.getuid() == 0 and execution.is_success and "closed" in body)
    assert list(scratch_root.path.iterdir()) == []


async def test_deep_recursion_fails_in_the_program_only(sandbox: Sandbox) -> None:
    code = "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return repr([f(n + 1)])\nf(0)"
    execution = await sandbox.run(Program(code), sandbox.limits.tightened(memory_bytes=96 * 2**20))
    assert not execution.is_success


async def test_a_background_thread_does_not_outlive_the_program(sandbox: Sandbox) -> None:
    code = """
import os, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print(os.getpid(), flush=True)
os._exit(0)
"""
    pid = int(await output_of(sandbox, code))
    assert not psutil.pid_exists(pid)
