"""The system calls a sandboxed program may make, compiled to a seccomp program."""

import errno
import importlib
import os
import tempfile
from types import ModuleType

from shared.errors import SandboxUnavailable

OWN_PID_PLACEHOLDER = 0x5EAF00D
"""Stands in the compiled filter for the program's own process id, which only the jail knows and puts in."""

_ALLOWED = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3
    pipe pipe2 fstat stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64
    getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat ftruncate fallocate
    fsync fdatasync fadvise64 flock copy_file_range sendfile umask statfs fstatfs
    mmap munmap mremap mprotect madvise brk msync mincore
    futex set_robust_list get_robust_list rseq set_tid_address exit exit_group arch_prctl sched_yield
    sched_getaffinity getcpu membarrier restart_syscall
    gettid getpid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause alarm
    setitimer getitimer nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage
    getrlimit uname sysinfo getrandom wait4 waitid execve
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    eventfd eventfd2 timerfd_create timerfd_settime timerfd_gettime
    recvfrom shutdown getsockname getpeername getsockopt
"""

# Landlock does not cover these, and the service's user may own files outside: they succeed without doing anything, so
# that copying and unpacking files, which end with them, go through.
_WITHOUT_EFFECT = "chmod fchmod fchmodat fchmodat2 utime utimes utimensat futimesat"

_UNSUPPORTED = """
    setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr
    lremovexattr fremovexattr
"""

_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020080
_FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)
"""Duplicates, flags, locks and pipe sizes. Not F_SETOWN and F_SETSIG: with them the kernel signals others for us."""
_IOCTL_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""Is it a terminal, how wide, bytes waiting, non-blocking, close on exec. Not FIOSETOWN, not TIOCSTI."""
_PR_SET_NAME = 15
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE_MASK = 1, 1, 0xF


def compile_filter() -> bytes:
    """Returns the filter as an array of `struct sock_filter`; whatever it does not list fails with EPERM.

    Raises SandboxUnavailable when libseccomp is missing.
    """
    seccomp = _load_seccomp()
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED.split():
        _add(seccomp, rules, seccomp.ALLOW, name)
    for name in _WITHOUT_EFFECT.split():
        _add(seccomp, rules, seccomp.ERRNO(0), name)
    for name in _UNSUPPORTED.split():
        _add(seccomp, rules, seccomp.ERRNO(errno.ENOTSUP), name)
    # glibc falls back to clone, whose flags a filter can see.
    _add(seccomp, rules, seccomp.ERRNO(errno.ENOSYS), "clone3")
    _allow_by_argument(seccomp, rules)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _load_seccomp() -> ModuleType:
    # Imported late: it looks for libseccomp at import and fails without it.
    try:
        return importlib.import_module("pyseccomp")
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxUnavailable(
            f"libseccomp cannot be loaded ({error}), so model-written code is not run",
            remedy="run on Linux with libseccomp2 installed: apt-get install libseccomp2",
        ) from error


def _allow_by_argument(seccomp: ModuleType, rules: object) -> None:
    def allow(name: str, *conditions: object) -> None:
        _add(seccomp, rules, seccomp.ALLOW, name, *conditions)

    def equals(argument: int, value: int, mask: int = 0xFFFFFFFF) -> object:
        return seccomp.Arg(argument, seccomp.MASKED_EQ, mask, value)

    for name, flags in (("open", 1), ("openat", 2)):
        # Opening for reading with O_TRUNC empties a file, which Landlock before ABI 3 lets pass.
        allow(name, equals(flags, 0, os.O_TRUNC))
        allow(name, equals(flags, os.O_WRONLY, os.O_ACCMODE))
        allow(name, equals(flags, os.O_RDWR, os.O_ACCMODE))
    allow("clone", equals(0, _CLONE_THREAD, _CLONE_THREAD | _CLONE_NAMESPACES))
    for command in _FCNTL_COMMANDS:
        allow("fcntl", equals(1, command))
    for command in _IOCTL_COMMANDS:
        allow("ioctl", equals(1, command))
    for name in ("kill", "tgkill"):
        allow(name, equals(0, OWN_PID_PLACEHOLDER))
    allow("prlimit64", equals(0, 0))
    allow("prctl", equals(0, _PR_SET_NAME))
    # asyncio wakes itself through a pair of stream sockets: these reach nobody else, not even by an address in sendto.
    allow("socketpair", equals(0, _AF_UNIX), equals(1, _SOCK_STREAM, _SOCK_TYPE_MASK))
    allow("sendto", seccomp.Arg(4, seccomp.EQ, 0))


def _add(seccomp: ModuleType, rules: object, action: int, name: str, *conditions: object) -> None:
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    # -1: older than this libseccomp; below: not on this architecture. Without a rule the call is refused.
    if number >= 0:
        rules.add_rule(action, number, *conditions)  # type: ignore[attr-defined]
