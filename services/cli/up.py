"""`waystation up`: the whole mesh under one supervisor."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.cli.child import ChildState
from services.cli.output import JsonOption, err, note, out, print_json
from services.cli.preflight import check_home, check_ports, forget_ready_files
from services.cli.supervisor import Supervisor
from services.cli.topology import Topology, topology_of
from services.cli.up_lock import holder, up_lock
from shared.errors import AlreadyExists, InternalError, WaystationError, error_from_reason

STYLES = {ChildState.HEALTHY: "green", ChildState.STARTING: "yellow", ChildState.WAITING: "red"}

app = typer.Typer()


@app.command()
def up(
    detach: Annotated[bool, typer.Option(help="Start in the background, and return once all is healthy.")] = False,
    pull: Annotated[bool, typer.Option(help="Pull missing model files first.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for all to be healthy.")] = 60,
    grace_s: Annotated[float, typer.Option("--grace", min=0, help="Seconds to drain before killing, a stage.")] = 15,
    is_json: JsonOption = False,
) -> None:
    """Start the mesh and keep it running until Ctrl-C."""
    if pull:
        _pull_models()
    topology = topology_of(os.environ)
    check_home(topology.home)
    if detach:
        _start_detached(topology, timeout_s, grace_s, is_json=is_json)
        return
    with up_lock(topology.home):
        check_ports(topology.all_doors)
        forget_ready_files(topology.home)
        asyncio.run(MeshUp(topology, is_json=is_json).run(timeout_s, grace_s))


class MeshUp:
    """The mesh while it is up: what `up` shows, and when it stops. Needs a running event loop for `run`."""

    def __init__(self, topology: Topology, *, is_json: bool) -> None:
        self._topology = topology
        self._is_json = is_json
        self._started = time.monotonic()
        self._is_stopping = False

    async def run(self, timeout_s: float, grace_s: float) -> None:
        """Start everything, say how it is, and drain when SIGINT or SIGTERM arrives."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        log_folder = self._topology.home / "logs"
        supervisor = Supervisor(self._topology.specs(os.getpid()), log_folder, self._say_death)
        self._say_missing_models()
        if why_not := self._topology.without_dashboard:
            note(why_not)
        supervisor.start()
        waiting = asyncio.create_task(self._wait_and_say(supervisor, timeout_s))
        await stop.wait()
        self._is_stopping = True
        note("Draining …")
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await supervisor.stop(grace_s)
        note("Stopped.")

    async def _wait_and_say(self, supervisor: Supervisor, timeout_s: float) -> None:
        console = err()
        if self._is_json or not console.is_terminal:
            is_healthy = await supervisor.wait_until_healthy(timeout_s)
        else:
            with Live(get_renderable=lambda: self._table(supervisor), console=console, transient=True):
                is_healthy = await supervisor.wait_until_healthy(timeout_s)
        took_s = time.monotonic() - self._started
        if self._is_json:
            print_json(self._document(supervisor, is_healthy, took_s))
            return
        out().print(self._table(supervisor))
        if is_healthy:
            note(f'Healthy after {took_s:.1f} s. Try: waystation ask "what can you do?"   Ctrl-C stops the mesh.')
            if dashboard := self._topology.dashboard:
                note(f"The dashboard is at http://{dashboard.door.address}")
        else:
            late = ", ".join(name for name, child in supervisor.children.items() if not child.healthy.is_set())
            note(f"Not healthy after {took_s:.0f} s: {late}. The logs are in {self._topology.home / 'logs'}.")

    def _table(self, supervisor: Supervisor) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("service", "door", "state", "pid", "started in", "log"):
            table.add_column(title, overflow="fold")
        for doors in self._topology.doors:
            child = supervisor.children[doors[0].service]
            table.add_row(
                Text(child.spec.name, style="bold"),
                "\n".join(f"{door.kind} {door.address}" for door in doors),
                Text(child.state, style=STYLES.get(child.state, "")),
                str(child.pid or ""),
                f"{child.healthy_after_s:.1f} s" if child.healthy.is_set() else "",
                Text(str(child.log_path), style="dim"),
            )
        return table

    def _document(self, supervisor: Supervisor, is_healthy: bool, took_s: float) -> dict[str, object]:
        services = []
        for doors in self._topology.doors:
            child = supervisor.children[doors[0].service]
            services.append(
                {
                    "service": child.spec.name,
                    "doors": [{"kind": door.kind, "address": door.address} for door in doors],
                    "state": child.state,
                    "pid": child.pid,
                    "healthy_after_s": round(child.healthy_after_s, 3),
                    "log": str(child.log_path),
                }
            )
        return {
            "is_healthy": is_healthy,
            "healthy_after_s": round(took_s, 3),
            "pid": os.getpid(),
            "home": str(self._topology.home),
            "missing_models": list(self._topology.missing_models),
            "services": services,
        }

    def _say_missing_models(self) -> None:
        if missing := self._topology.missing_models:
            has_others = any(doors[0].service == "models" for doors in self._topology.doors)
            rest = "" if has_others else " Going on without a chat model: routing and retrieval work, answers do not."
            note(f"No file for {', '.join(missing)}: `waystation models pull` gets it.{rest}")

    def _say_death(self, name: str, code: int, delay_s: float) -> None:
        if not self._is_stopping:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            log = self._topology.home / "logs" / f"{name}.log"
            said = f"{name} {how}; starting it again in {delay_s:.1f} s. Its log: {log}"
            err().print(Text(said, style="yellow"), soft_wrap=True)


def _pull_models() -> None:
    code = subprocess.run([sys.executable, "-m", "services.cli", "models", "pull"], check=False).returncode
    if code:
        raise typer.Exit(code)


def _start_detached(topology: Topology, timeout_s: float, grace_s: float, *, is_json: bool) -> None:
    """Start `up --json` in a session of its own, and pass on the one document it prints."""
    if pid := holder(topology.home):
        raise AlreadyExists(
            f"Waystation is already up on {topology.home} (process {pid}).",
            remedy="Stop it with `waystation down`, or set WAYSTATION_HOME to another folder.",
        )
    log = topology.home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-m", "services.cli", "up", "--json")
    options = ("--timeout", str(timeout_s), "--grace", str(grace_s))
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout, err().status("Starting …"):
        line = process.stdout.readline()
    _say_detached(line, log, is_json=is_json)


def _say_detached(line: bytes, log: Path, *, is_json: bool) -> None:
    try:
        document = json.loads(line)
    except ValueError:
        raise InternalError("The supervisor ended without a word.", remedy=f"See {log}.") from None
    if failure := document.get("error"):
        raise _error_of(failure)
    if is_json:
        print_json(document)
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("service", "door", "state", "pid"):
            table.add_column(title)
        for row in document["services"]:
            doors = "\n".join(f"{door['kind']} {door['address']}" for door in row["doors"])
            table.add_row(row["service"], doors, row["state"], str(row["pid"] or ""))
        out().print(table)
        note(f"Up after {document['healthy_after_s']:.1f} s as process {document['pid']}; `waystation down` stops it.")
    if not document["is_healthy"]:
        note(f"Not all is healthy. The logs are in {log.parent}.")
        raise typer.Exit(1)


def _error_of(failure: dict[str, object]) -> WaystationError:
    metadata = failure["metadata"] if isinstance(failure["metadata"], dict) else {}
    return error_from_reason(
        str(failure["reason"]), str(failure["message"]), {**metadata, "remedy": str(failure["remedy"])}
    )
