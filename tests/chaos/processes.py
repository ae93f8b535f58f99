"""The processes under attack: started with a fault or without, killed, and started again, at the same doors."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.counting import POSTED
from tests.kept_homes import kept_if_failing
from tests.mesh import ROOT

START_TIMEOUT_S = 30.0
POLL_S = 0.01
_DOORS = iter(random.sample(range(15_000, 30_000), 1_000))
"""Below the ports that outgoing connections get: one of those could take a door while its process is dead."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "control": ("services.control",),
    "models": ("services.models",),
    "rag": ("services.rag",),
    "coding": ("services.coding",),
    "tools": ("services.tools",),
    "tally": ("tests.chaos.counting", "tally"),
    "outside": ("tests.chaos.counting", "outside"),
    "post": ("tests.chaos.counting", "post"),
    "agent": ("services.agent",),
}
"""What is started, in this order."""

STORY = " ".join(f"word{number}" for number in range(40))
CODE = "Here it is.\n```python\ndef double(n):\n    return 2 * n\n\nprint(double(21))\n```"


def _decide(match: str, following: str) -> dict[str, Any]:
    decision = {"reason": "scripted", "next": following}
    return {"match": match, "where": "last", "schema_name": "^decision$", "reply": decision}


SCRIPT: tuple[dict[str, Any], ...] = (
    _decide("(?s)Request: write letters.*Result 2", "answer_now"),
    _decide("(?s)Request: write letters.*Result 1", "post"),
    _decide("Result 1", "answer_now"),
    _decide("Request: write letters", "tally"),
    _decide("Request: count inside", "tally"),
    _decide("Request: count outside", "outside"),
    _decide("Request: code", "coding"),
    _decide("Request: what is the retention", "rag"),
    _decide("Request: sum", "tools"),
    _decide("", "answer_now"),
    {"match": "Result of post", "where": "last", "reply": POSTED},
    {"match": "story", "where": "last", "reply": STORY, "delay_ms": 3},
    {"match": "double", "reply": CODE},
    {"match": "retention", "reply": "Backups are kept for 35 days [1]."},
    {"match": "sum", "schema_name": ".", "reply": {"tool": "no_tool", "reason": "scripted"}},
    {"match": "", "reply": "Something did not work."},
)
"""What the model server answers."""


class Died(Exception):
    """A process ended before it was ready."""

    def __init__(self, name: str, code: int, log_end: str) -> None:
        super().__init__(f"{name} ended with {code}: {log_end}")
        self.code = code


@dataclass
class Process:
    """One process of the mesh; `environ` says everything but the fault."""

    name: str
    home: Path
    environ: Mapping[str, str]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    spawn_time_s: float = 0.0
    """When it was last started, since the epoch."""
    start_s: float = 0.0
    """From the last start until it was ready."""
    _process: asyncio.subprocess.Process | None = None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def start(self, faults: str = "") -> None:
        """Start it, and return when it serves. Raises `Died` when it ends before, `TimeoutError` when it hangs."""
        environ = {**self.environ, **({"WAYSTATION_FAULTS": faults} if faults else {})}
        self.spawn_time_s = time.time()
        with (self.home / f"{self.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *MODULES[self.name], env=environ, cwd=ROOT, stdout=log, stderr=log
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._says_ready():
                if self._process.returncode is not None:
                    raise Died(self.name, self._process.returncode, self.log_end())
                await asyncio.sleep(POLL_S)
        self.start_s = time.time() - self.spawn_time_s
        self.ready.set()

    def _says_ready(self) -> bool:
        assert self._process
        try:
            record = json.loads((self.home / "run" / f"{self.name}.json").read_text())
        except (FileNotFoundError, ValueError):
            return False
        return bool(record["pid"] == self._process.pid)

    async def wait_for_death(self, timeout_s: float) -> int | None:
        """Return its exit code, or None when it lives on."""
        assert self._process
        try:
            code = await asyncio.wait_for(self._process.wait(), timeout_s)
        except TimeoutError:
            return None
        self.ready.clear()
        return code

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        await self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        if self._process and self.is_alive:
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """End it in order, or else by force."""
        if self._process:
            self.terminate()
            if await self.wait_for_death(15) is None:
                await self.kill()

    async def _signal(self, number: signal.Signals) -> None:
        self.ready.clear()
        if self._process and self.is_alive:
            self._process.send_signal(number)
            await self._process.wait()

    def log_end(self) -> str:
        """The last of what it said."""
        return (self.home / f"{self.name}.log").read_text(errors="replace")[-1_500:]


@dataclass(frozen=True)
class Mesh:
    """The processes that run, by name."""

    home: Path
    processes: Mapping[str, Process]
    address: str
    """Of the agent."""


@asynccontextmanager
async def running_mesh(home: Path, names: tuple[str, ...] = tuple(MODULES)) -> AsyncIterator[Mesh]:
    """Start the named processes, which are stopped at the end; the model is scripted."""
    ports = _ports()
    environ = _environ(home, ports)
    chosen = {name: Process(name, home, environ) for name in MODULES if name in names}
    async with AsyncExitStack() as stack:
        stack.enter_context(kept_if_failing(home))
        for process in chosen.values():
            stack.push_async_callback(process.stop)
        for name, process in chosen.items():
            if name != "agent":
                await process.start()
        if "agent" in chosen:
            await chosen["agent"].start()
        if "rag" in chosen:
            await _ingest(home, environ)
        yield Mesh(home, chosen, f"127.0.0.1:{ports['AGENT']}")


async def _ingest(home: Path, environ: Mapping[str, str]) -> None:
    document = home / "backups.md"
    document.write_text("# Backups\n\nThe retention of backups is 35 days.\n")
    command = (sys.executable, "-m", "services.cli", "ingest", str(document))
    ingest = await asyncio.create_subprocess_exec(
        *command, env=environ, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await ingest.communicate()
    if ingest.returncode:
        raise Died("waystation ingest", ingest.returncode, said.decode())


def _ports() -> dict[str, int]:
    names = [*(name.upper() for name in MODULES), "CONTROL_HTTP"]
    return {name: next(port for port in _DOORS if _is_free(port)) for name in names}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _environ(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    home.mkdir(parents=True, exist_ok=True)
    script = home / "script.json"
    script.write_text(json.dumps(SCRIPT))
    mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    return {
        **mine,
        **{f"WAYSTATION_{name}_PORT": str(port) for name, port in ports.items()},
        "WAYSTATION_HOME": str(home),
        "WAYSTATION_CONTROL_ADDRESS": f"127.0.0.1:{ports['CONTROL']}",
        "WAYSTATION_MODEL_URL": f"http://127.0.0.1:{ports['MODELS']}/v1",
        "WAYSTATION_MODELS_BACKEND": "scripted",
        "WAYSTATION_MODELS_SCRIPT": str(script),
        "WAYSTATION_AGENT_ROUTER": "heuristic",
        # here every run is killed again and again: a bound on that is tested elsewhere
        "WAYSTATION_AGENT_MAX_ATTEMPTS": "100000",
        "WAYSTATION_LOG_LEVEL": "WARNING",
    }
