"""`waystation down`: stops the mesh that `up` started."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from services.cli.doors import door_settings
from services.cli.output import JsonOption, note, print_json
from services.cli.up_lock import holder
from shared.errors import DeadlineExceeded

POLL_S = 0.1

app = typer.Typer()


@app.command()
def down(
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the drain.")] = 60,
    is_json: JsonOption = False,
) -> None:
    """Stop the mesh that `up` started on this data folder, and wait until it has drained."""
    home = door_settings("agent", os.environ).home.absolute()
    pid = holder(home)
    if pid:
        _stop(home, pid, timeout_s)
    if is_json:
        print_json({"was_up": bool(pid), "pid": pid})
    else:
        note("Stopped." if pid else f"Nothing is up on {home}.")


def _stop(home: Path, pid: int, timeout_s: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + timeout_s
    while holder(home):
        if time.monotonic() > end:
            raise DeadlineExceeded(
                f"Waystation (process {pid}) is still draining after {timeout_s:.0f} s.",
                remedy=f"Wait, or end it with `kill -9 {pid}`: nothing that was committed is lost.",
                pid=pid,
            )
        time.sleep(POLL_S)
