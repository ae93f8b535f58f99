"""The whole mesh under its supervisor: real processes, without a chat model."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
DOORS = ("CONTROL", "CONTROL_HTTP", "MODELS", "RAG", "CODING", "TOOLS", "AGENT")
RESTART_S = 30.0


@dataclass
class Mesh:
    """A mesh in an empty data folder, at free ports."""

    home: Path
    environ: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `waystation` with these words."""
        command = [sys.executable, "-m", "services.cli", *words]
        return subprocess.run(command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False)

    def record(self, service: str) -> dict[str, Any]:
        """What a process says of itself; empty while it does not serve."""
        try:
            return dict(json.loads((self.home / "run" / f"{service}.json").read_text()))
        except FileNotFoundError:
            return {}


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh that is not up yet; it is down at the end."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in DOORS]
        ports = {f"WAYSTATION_{name}_PORT": str(door.getsockname()[1]) for name, door in zip(DOORS, taken, strict=True)}
    mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    mesh = Mesh(tmp_path / "home", {**mine, **ports, "WAYSTATION_HOME": str(tmp_path / "home")})
    yield mesh
    mesh.run("down")


def test_the_mesh_comes_up_heals_and_goes_down(mesh: Mesh) -> None:
    started = mesh.run("up", "--detach", "--json")
    document = json.loads(started.stdout)
    assert started.returncode == 0, document
    assert [service["state"] for service in document["services"]] == ["healthy"] * 5
    pids = [service["pid"] for service in document["services"]]

    second = mesh.run("up", "--json")
    assert json.loads(second.stdout)["error"]["reason"] == "ALREADY_EXISTS"

    before = mesh.record("tools")["pid"]
    os.kill(before, signal.SIGKILL)
    end = time.monotonic() + RESTART_S
    while mesh.record("tools").get("pid") in (None, before) and time.monotonic() < end:
        time.sleep(0.05)
    assert mesh.record("tools")["pid"] != before
    assert psutil.pid_exists(document["pid"])

    assert json.loads(mesh.run("down", "--json").stdout)["was_up"]
    assert not any(psutil.pid_exists(pid) for pid in (*pids, document["pid"]))
    assert not list((mesh.home / "run").glob("*.json"))


def test_a_killed_supervisor_leaves_nothing_running(mesh: Mesh) -> None:
    document = json.loads(mesh.run("up", "--detach", "--json").stdout)
    children = [psutil.Process(service["pid"]) for service in document["services"]]
    os.kill(document["pid"], signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert json.loads(mesh.run("up", "--detach", "--json").stdout)["is_healthy"]
