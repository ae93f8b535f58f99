"""Confines its own process, then becomes the program: started by `sandbox.py` with `python -I -S`, never imported.

Its argument is a marshalled dictionary in hex, see `sandbox.py`. On the status pipe it writes `ok` as its last act
before the program starts, or else why it could not confine itself; the program then does not start.
"""

import ctypes
import marshal
import os
import resource
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522
SIGKILL = 9

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""What each ABI of Landlock added to the file rights it can refuse: all of the first; refer; truncate; ioctl."""
REFER, TRUNCATE = RIGHTS_BY_ABI[2], RIGHTS_BY_ABI[3]
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
# No symbolic links, pipes, sockets or devices.
SCRATCH_RIGHTS = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


class PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def main() -> None:
    """Reads the order, confines this process and executes the program in its place."""
    order = marshal.loads(bytes.fromhex(sys.argv[1]))
    status_fd = order["status_fd"]
    os.set_inheritable(status_fd, False)
    try:
        confine(order)
        os.write(status_fd, b"ok")
        os.execve(order["command"][0], order["command"], order["environment"])
    except BaseException as error:
        os.write(status_fd, f"{type(error).__name__}: {error}".encode())
        os._exit(1)


def confine(order: dict) -> None:  # type: ignore[type-arg]
    """Gives up, for good, all but what the order leaves. Raises OSError where the kernel does not go along."""
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    if os.getppid() != order["parent_pid"]:
        raise ProcessLookupError("the service died while its sandbox was starting")
    prefer_for_oom_kill()
    for name, value in order["rlimits"].items():
        resource.setrlimit(getattr(resource, name), value)
    os.chdir(order["scratch"])
    os.umask(0o077)
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    restrict_files(order)
    restrict_syscalls(order["filter"], order["own_pid_placeholder"])


def prefer_for_oom_kill() -> None:
    """When memory runs out, this process goes first."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def drop_capabilities() -> None:
    """Makes root an ordinary user; with no_new_privs set, executing a program does not bring anything back."""
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        fail("capset")


def restrict_files(order: dict) -> None:  # type: ignore[type-arg]
    """Lays Landlock over this process: reading where `readable` says, all but links and devices in `scratch`."""
    abi = libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        fail("Landlock")
    handled = sum(rights for since, rights in RIGHTS_BY_ABI.items() if abi >= since)
    attributes = ctypes.c_uint64(handled)
    ruleset = libc.syscall(
        SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)), 0
    )
    if ruleset < 0:
        fail("landlock_create_ruleset")
    for path in order["readable"]:
        permit(ruleset, path, handled & (READ_FILE | READ_DIR))
    for path in order["executable"]:
        permit(ruleset, path, handled & (READ_FILE | EXECUTE))
    permit(ruleset, os.devnull, handled & (READ_FILE | WRITE_FILE | TRUNCATE))
    permit(ruleset, order["scratch"], handled & SCRATCH_RIGHTS)
    if libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0:
        fail("landlock_restrict_self")
    os.close(ruleset)


def permit(ruleset: int, path: str, rights: int) -> None:
    """Adds a rule for a path and all beneath it; a path that does not exist needs none."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= FILE_RIGHTS
    rule = PathBeneath(rights, fd)
    if libc.syscall(SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0) != 0:
        fail(f"landlock_add_rule for {path}")
    os.close(fd)


def restrict_syscalls(program: bytes, own_pid_placeholder: int) -> None:
    """Puts this process's id into the filter and installs it."""
    own_pid = os.getpid().to_bytes(4, sys.byteorder)
    placeholder = own_pid_placeholder.to_bytes(4, sys.byteorder)
    instructions = [program[at : at + 8] for at in range(0, len(program), 8)]
    patched = b"".join(
        instruction[:4] + (own_pid if instruction[4:] == placeholder else instruction[4:])
        for instruction in instructions
    )
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(FilterProgram(len(instructions), patched)))


def prctl(option: int, *values: object) -> None:
    """Calls prctl(2); raises OSError when it fails."""
    arguments = [value if not isinstance(value, int) else ctypes.c_ulong(value) for value in values]
    arguments += [ctypes.c_ulong(0)] * (4 - len(arguments))
    if libc.prctl(option, *arguments) != 0:
        fail(f"prctl {option}")


def fail(what: str) -> None:
    """Raises OSError for the last failed call."""
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


main()
