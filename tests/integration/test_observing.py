"""A mesh of real processes is watched over HTTP while its agent is killed: nothing is missed, the crash is noticed."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse
from prometheus_client.parser import text_string_to_metric_families

from tests.mesh import Mesh, scripted_mesh

RECONNECTS = 50
WAIT_S = 40.0
SCRIPT = [
    {"match": "", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    {"match": "tell me a long story", "reply": " ".join(f"word{number}" for number in range(120)), "delay_ms": 50},
]

Line = tuple[str, str, str]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is up, with a scripted chat model."""
    with scripted_mesh(tmp_path_factory.mktemp("observing"), SCRIPT) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def http(mesh: Mesh) -> Iterator[httpx.Client]:
    """A client of the control plane."""
    url = f"http://127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_HTTP_PORT']}"
    with httpx.Client(base_url=url, timeout=WAIT_S) as client:
        yield client


def read(http: httpx.Client, path: str, cursor: str, most: int = 10**9) -> list[Line]:
    """Read the events after a cursor up to `end`, and leave after at most so many."""
    lines: list[Line] = []
    with connect_sse(http, "GET", path, headers={"Last-Event-ID": cursor} if cursor else {}) as source:
        for event in source.iter_sse():
            if event.data:  # to the client a comment is an event without data
                # `end` has no number: a client that saw others before gives it theirs
                number = "" if event.event == "end" else event.id
                lines.append((event.event, number, event.data))
            if len(lines) == most:
                break
    return lines


def read_restlessly(http: httpx.Client, path: str) -> tuple[list[Line], int]:
    """Read up to `end`, leaving and coming back at random; also how often it came."""
    rng, lines, visits = random.Random(6), list[Line](), 0
    while not lines or lines[-1][0] != "end":
        lines += read(http, path, lines[-1][1] if lines else "", rng.choice((1, 1, 1, 2, 3)))
        visits += 1
    return lines, visits


def wait_for(what: Any) -> Any:
    """Poll until there is something."""
    end = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def test_a_run_is_followed_through_fifty_reconnects_and_a_kill(mesh: Mesh, http: httpx.Client) -> None:
    with mesh.start("ask", "tell me a long story", "--json") as asking:
        run = wait_for(lambda: http.get("/api/runs", params={"text": "long story"}).json()["runs"])[0]
        path = f"/api/runs/{run['run_id']}/events"
        with ThreadPoolExecutor(2) as readers:
            calm = readers.submit(read, http, path, "")
            restless = readers.submit(read_restlessly, http, path)
            wait_for(lambda: len(read(http, path, "", 20)) == 20)
            os.kill(mesh.record("agent")["pid"], signal.SIGKILL)
            lines, visits = restless.result(2 * WAIT_S)
            assert visits > RECONNECTS
            assert lines == calm.result(2 * WAIT_S)
        asking.communicate()
    names = [name for name, _, _ in lines]
    assert "run_resumed" in names and names[-2:] == ["state_changed", "end"]
    assert json.loads(lines[-1][2])["reason"] == "finished"
    assert [int(number) for _, number, _ in lines[:-1]] == list(range(1, len(lines)))


def test_the_crash_was_noticed_and_everybody_speaks_up(mesh: Mesh, http: httpx.Client) -> None:
    mode = wait_for(lambda: (found := http.get("/api/mode").json())["mode"] == "debug" and found)
    assert (mode["set_mode"], mode["cause"]) == ("shipping", "crash")
    logs = wait_for(lambda: http.get("/api/logs", params={"service": "agent"}).json()["logs"])
    assert all(log["severity"] and log["instance_id"] for log in logs)
    series = wait_for(lambda: http.get("/api/metrics", params={"service": "agent"}).json()["series"])
    assert {each["kind"] for each in series} <= {"gauge", "sum", "histogram"}


def test_the_figures_of_all_processes_are_there(mesh: Mesh, http: httpx.Client) -> None:
    services = http.get("/api/services").json()["services"]
    assert {each["name"] for each in services} >= {"agent", "rag", "coding", "tools"}
    assert all(each["health"]["rss_bytes"] > 0 and each["health"]["threads"] > 0 for each in services)
    listed = json.loads(mesh.run("services", "--json").stdout)
    assert {each["descriptor"]["name"] for each in listed} >= {"agent", "rag", "coding", "tools"}
    families = {family.name: family for family in text_string_to_metric_families(http.get("/metrics").text)}
    up = {sample.labels["service"]: sample.value for sample in families["waystation_service_up"].samples}
    assert up["agent"] == up["rag"] == 1
    runs = {sample.labels["state"]: sample.value for sample in families["waystation_runs"].samples}
    assert runs["succeeded"] >= 1
    dropped = {sample.labels["service"]: sample.value for sample in families["waystation_spans_dropped"].samples}
    assert dropped["agent"] == 0
    assert sum(sample.value for sample in families["waystation_checkpoint_bytes"].samples) > 0
