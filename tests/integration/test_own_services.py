"""Services by outsiders join a mesh at run time, in Python and in Node: recommended, called, balanced, gone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.pb import agent_v1
from tests.mesh import ROOT, Mesh, scripted_mesh

WORDS = "count the words: to be or not to be"
WEEKDAY = "which day of the week was 1969-07-20?"
SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    {"match": "1969", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "weekdays"}},
    {"match": "", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "words"}},
]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is up, and knows of none of the examples."""
    with scripted_mesh(tmp_path_factory.mktemp("mesh"), SCRIPT) as mesh:
        yield mesh


@contextmanager
def running(mesh: Mesh, home: Path, folder: Path, *command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A service beside the mesh, that knows no more of it than the door of its control plane."""
    control = f"127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_PORT']}"
    mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    environ = {**mine, "WAYSTATION_CONTROL_ADDRESS": control, "WAYSTATION_HOME": str(home)}
    process = subprocess.Popen(command, cwd=folder, env=environ)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_S)


def words(mesh: Mesh, home: Path) -> Any:
    return running(mesh, home, ROOT, sys.executable, "examples/services/words.py")


@contextmanager
def weekdays(mesh: Mesh, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    copied = folder / "examples" / "services"
    shutil.copytree(
        ROOT / "examples" / "services", copied, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
    )
    (folder / "proto").symlink_to(ROOT / "proto")
    installed = subprocess.run(["npm", "ci", "--silent"], cwd=copied, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    with running(mesh, folder, copied, "node", "weekdays.mjs") as process:
        yield process


def until(mesh: Mesh, is_reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_reached():
        assert time.monotonic() < end, mesh.logs()
        time.sleep(0.1)


def recommended(mesh: Mesh, query: str) -> list[str]:
    """Whom the router names, the best first."""
    with grpc.insecure_channel(mesh.record("agent")["address"], (("grpc.enable_http_proxy", 0),)) as channel:
        request = agent_v1.RecommendRouteRequest(query=query)
        answer: Any = agent_v1.AgentServiceStub(channel).RecommendRoute(request, timeout=30)
    return [candidate.service for candidate in answer.recommendation.candidates]


def listed(mesh: Mesh, name: str) -> list[Mapping[str, Any]]:
    """What `waystation services` has of a service."""
    shown = mesh.run("services", "--json")
    assert shown.returncode == 0, shown.stderr
    return [item for item in json.loads(shown.stdout) if item["descriptor"]["name"] == name]


def test_python_and_node_join_are_recommended_and_called_and_leave(mesh: Mesh, tmp_path: Path) -> None:
    assert not {"words", "weekdays"} & {*recommended(mesh, WORDS), *recommended(mesh, WEEKDAY)}
    with words(mesh, tmp_path / "words") as python, weekdays(mesh, tmp_path / "node") as node:
        until(mesh, lambda: recommended(mesh, WORDS)[:1] == ["words"])
        until(mesh, lambda: recommended(mesh, WEEKDAY)[:1] == ["weekdays"])
        [service] = listed(mesh, "weekdays")
        assert service["descriptor"]["tags"] == ["dates", "weekday"] and service["health"]["state"] == "STATE_SERVING"
        assert len(listed(mesh, "words")) == 1

        for query, name, answer in ((WORDS, "words", "6 words"), (WEEKDAY, "weekdays", "1969-07-20 is a Sunday.")):
            asked = mesh.answer("ask", query)
            assert ([hop["capability"] for hop in asked["hops"]], asked["answer"]) == ([name], answer)

        python.terminate()  # it gives its lease back
        assert python.wait(PATIENCE_S) == 0
        assert "words" not in recommended(mesh, WORDS) and listed(mesh, "words") == []
        node.send_signal(signal.SIGKILL)  # its lease ends
        until(mesh, lambda: "weekdays" not in recommended(mesh, WEEKDAY))
        until(mesh, lambda: listed(mesh, "weekdays") == [])


def test_of_two_replicas_one_may_die(mesh: Mesh, tmp_path: Path) -> None:
    with ExitStack() as stack:
        replicas = [stack.enter_context(words(mesh, tmp_path / name)) for name in ("a", "b")]
        until(mesh, lambda: len(listed(mesh, "words")) == 2)
        until(mesh, lambda: recommended(mesh, WORDS)[:1] == ["words"])
        assert recommended(mesh, WORDS).count("words") == 1  # one capability, two places
        places = {hop_address(mesh) for _ in range(2)}
        assert places == {item["address"] for item in listed(mesh, "words")}

        replicas[0].send_signal(signal.SIGKILL)
        replicas[0].wait(PATIENCE_S)
        [alive] = [item for item in listed(mesh, "words") if int(item["pid"]) == replicas[1].pid]
        assert {hop_address(mesh) for _ in range(3)} == {alive["address"]}


def hop_address(mesh: Mesh) -> str:
    """Where the one hop of a run that succeeds has gone."""
    asked = mesh.run("ask", WORDS, "--events")
    events = [line for line in asked.stdout.splitlines() if "hop_started" in line]
    assert asked.returncode == 0 and '"answer": "6 words"' in asked.stdout, asked.stdout
    return str(json.loads(events[-1])["hop_started"]["address"])
