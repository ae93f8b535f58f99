"""Runs a module as a program that cannot outlive the supervisor: `python -m services.cli.tethered PID MODULE`."""

import ctypes
import os
import runpy
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


def tether(parent: int) -> None:
    """Die with the process `parent`, even when it is killed outright. Standard input must be a pipe from it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_die_at_end_of_input, daemon=True).start()
    if os.getppid() != parent:  # it died before the tether held
        sys.exit(1)


def _die_at_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    tether(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
