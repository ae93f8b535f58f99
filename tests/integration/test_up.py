"""The whole mesh under its supervisor: real processes, without a chat model."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.mesh import Mesh, prepared_mesh

RESTART_S = 30.0


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh that is not up yet; it is down at the end."""
    with prepared_mesh(tmp_path / "home", {}) as mesh:
        yield mesh


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
    end = time.monotonic() + RESTART_S
    while any(is_running(pid) for pid in (*pids, document["pid"])):
        assert time.monotonic() < end, mesh.logs()
        time.sleep(0.05)
    assert not list((mesh.home / "run").glob("*.json"))


def test_a_killed_supervisor_leaves_nothing_running(mesh: Mesh) -> None:
    document = json.loads(mesh.run("up", "--detach", "--json").stdout)
    children = [psutil.Process(service["pid"]) for service in document["services"]]
    os.kill(document["pid"], signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert json.loads(mesh.run("up", "--detach", "--json").stdout)["is_healthy"]


def is_running(pid: int) -> bool:
    """Whether the process lives; one that only waits to be reaped by its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
