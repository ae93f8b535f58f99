"""Canaries in a mesh of real processes, in debug mode: no secret is in anything that is stored or sent as telemetry.

What the user asked for is the user's data: the query, and the arguments a model made of it, are in the runs (agent.db,
the services' ledgers, and the copy of the runs in control.db), and nowhere else. A header, a setting and the text of an
exception are nobody's data: they are nowhere.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import grpc
import httpx
import pytest

from shared.pb import agent_v1
from shared.telemetry.redaction import REDACTED
from tests.mesh import ROOT, Mesh, prepared_mesh

QUERY, ARGUMENT = "canaryquery7f3a91", "canaryargument7f3a92"
HEADER, SETTING, EXCEPTION = "canaryheader7f3a93", "canarysetting7f3a94", "canaryexception7f3a95"
OF_NOBODY = (HEADER, SETTING, EXCEPTION)
RUN_TABLES = ("runs",)
"""The tables of control.db that hold the user's runs."""
RUN_EVENTS = ("run_changed", "hop", "decision", "a2a_message")
"""The events of /api/events that are parts of the user's runs."""
SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    {
        "match": 'Request: [^\\n]*explode[^\\n]*\\nRouter: [^\\n]*"confidence"',
        "schema_name": "^decision$",
        "reply": {"reason": "boom", "next": "leaky"},
    },
    {
        "match": "",
        "schema_name": "^decision$",
        "reply": {"reason": f"it says password={QUERY}", "next": "tools"},
    },
    {
        "match": "",
        "schema_name": "^step$",
        "reply": {"tool": "fetch_url", "arguments": {"url": f"http://bob:{ARGUMENT}@127.0.0.1:9/?api_key={ARGUMENT}"}},
    },
    {"match": "", "reply": f"Done. The api_key: {QUERY}"},
]


@dataclass
class Told:
    """Everything that the mesh said and kept."""

    home: Path
    sse: list[tuple[str, str]] = field(default_factory=list)
    """Name and data of each event on /api/events."""
    spans: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    pages: str = ""
    """What the other pages of the HTTP API say."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """What came of two runs, one of which failed badly, in debug mode."""
    folder = tmp_path_factory.mktemp("canaries")
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    settings = {
        "WAYSTATION_MODELS_BACKEND": "scripted",
        "WAYSTATION_MODELS_SCRIPT": str(script),
        "WAYSTATION_MODEL_API_KEY": SETTING,
        "CANARY": EXCEPTION,
    }
    with prepared_mesh(folder / "home", settings) as mesh:
        started = mesh.run("up", "--detach", "--json")
        assert started.returncode == 0, (started.stdout, started.stderr, mesh.logs())
        with leaky(mesh), client_of(mesh) as client:
            told = Told(mesh.home)
            reader = threading.Thread(target=read_events, args=(mesh, told), daemon=True)
            reader.start()
            assert mesh.answer("obs", "debug", "--for", "10m")["mode"] == "debug"
            # the mode is at every service when each of them has said so in its log
            until(mesh, lambda: said_debug(mesh) >= {"agent", "control", "rag", "coding", "tools", "models", "leaky"})
            runs = [start(mesh, query) for query in (f"fetch it with password={QUERY} please", "please explode now")]
            until(mesh, lambda: all(state(client, run) not in ("pending", "running") for run in runs))
            until(mesh, lambda: (collect(client, runs, told), is_complete(told))[1])
            told.pages = client.get("/").text + client.get("/api/services").text + client.get("/metrics").text
        yield told


class leaky:
    """The failing service, beside the mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def __enter__(self) -> None:
        with (self._mesh.home / "logs" / "leaky.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.fakes.leaky_service"]
            environ = {**self._mesh.environ, "WAYSTATION_CONTROL_ADDRESS": self._mesh.record("control")["address"]}
            self._process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=log)
        # the agent hears of it a moment after the registry
        until(self._mesh, lambda: self._mesh.answer("route", "please explode now")["top"] == "leaky")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(15)


def client_of(mesh: Mesh) -> httpx.Client:
    url = f"http://127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_HTTP_PORT']}"
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {HEADER}"}, trust_env=False)


def read_events(mesh: Mesh, told: Told) -> None:
    with client_of(mesh) as client, client.stream("GET", "/api/events", timeout=None) as response:
        name = ""
        for line in response.iter_lines():
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                told.sse.append((name, line))


def said_debug(mesh: Mesh) -> set[str]:
    logs = (mesh.home / "logs").glob("*.log")
    return {path.stem for path in logs if "the observability mode is debug now" in path.read_text()}


def start(mesh: Mesh, query: str) -> str:
    metadata = (("authorization", f"Bearer {HEADER}"), ("x-api-key", HEADER), ("cookie", f"token={HEADER}"))
    with grpc.insecure_channel(mesh.record("agent")["address"]) as channel:
        request = agent_v1.StartRunRequest(query=query)
        return agent_v1.AgentServiceStub(channel).StartRun(request, metadata=metadata, timeout=10).run.run_id


def state(client: httpx.Client, run_id: str) -> str:
    return str(client.get(f"/api/runs/{run_id}").json()["state"])


def collect(client: httpx.Client, runs: list[str], told: Told) -> None:
    told.spans = [span for run in runs for span in client.get(f"/api/runs/{run}/spans").json()["spans"]]
    told.logs = client.get("/api/logs", params={"page_size": 2_000}).json()["logs"]


def is_complete(told: Told) -> bool:
    events = {event["name"] for span in told.spans for event in span["events"]}
    wanted = {"gen_ai.client.inference.operation.details", "tool.call.contents", "agent.hop.contents"}
    has_failed = any("About to" not in log["message"] and log["service"] == "leaky" for log in told.logs)
    return wanted <= events and has_failed and all(span["end_unix_ms"] for span in told.spans)


def until(mesh: Mesh, is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, mesh.logs()
        time.sleep(0.1)


def leaks(text: str, canaries: tuple[str, ...]) -> list[str]:
    return [canary for canary in canaries if canary in text]


def test_debug_mode_shows_what_was_asked_and_answered_without_the_secrets(told: Told) -> None:
    spans = json.dumps(told.spans)
    assert leaks(spans, (QUERY, ARGUMENT, *OF_NOBODY)) == []
    assert f"fetch it with password={REDACTED} please" in spans
    [tool] = [span for span in told.spans if span["name"] == "tool.call"][:1]
    [contents] = [event["attributes"] for event in tool["events"] if event["name"] == "tool.call.contents"]
    assert contents["gen_ai.tool.call.arguments"].startswith(f'{{"url": "http://bob:{REDACTED}@127.0.0.1:9/')


def test_an_exception_is_told_with_its_place_and_without_its_secrets(told: Told) -> None:
    logs = json.dumps(told.logs)
    assert leaks(logs, (QUERY, ARGUMENT, *OF_NOBODY)) == []
    assert f"password={REDACTED} was refused, and so was {REDACTED}" in logs
    assert f"asking with the key {REDACTED}" in logs


def test_the_log_files_hold_no_secret(told: Told) -> None:
    paths = [*(told.home / "logs").glob("*.log*")]
    assert len(paths) >= 7
    for path in paths:
        assert leaks(path.read_text(), (QUERY, ARGUMENT, *OF_NOBODY)) == [], path


def test_every_line_of_a_served_run_has_its_ids(told: Told) -> None:
    lines = [json.loads(line) for line in (told.home / "logs" / "leaky.log").read_text().splitlines()]
    [asking] = [line for line in lines if "asking with" in line["message"]]
    assert {"trace_id", "span_id", "correlation_id", "run_id"} <= set(asking)


def test_the_store_of_the_control_plane_has_user_data_in_its_runs_only(told: Told) -> None:
    with apsw.Connection(str(told.home / "control.db"), flags=apsw.SQLITE_OPEN_READONLY) as database:
        names = [str(name) for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert "spans" in names and "logs" in names
        for name in names:
            rows = repr(database.execute(f'SELECT * FROM "{name}"').fetchall())
            canaries = OF_NOBODY if name in RUN_TABLES else (QUERY, ARGUMENT, *OF_NOBODY)
            assert leaks(rows, canaries) == [], name


def test_what_is_nobodys_data_is_in_no_file_at_all(told: Told) -> None:
    paths = [path for path in told.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "agent.db" for path in paths)
    for path in paths:
        content = path.read_bytes()
        assert [canary for canary in OF_NOBODY if canary.encode() in content] == [], path


def test_events_and_pages_hold_no_secret(told: Told) -> None:
    names = {name for name, _ in told.sse}
    assert {"span_ended", "mode_changed", "run_changed"} <= names
    for name, data in told.sse:
        is_telemetry = name not in RUN_EVENTS
        assert leaks(data, (QUERY, ARGUMENT, *OF_NOBODY) if is_telemetry else OF_NOBODY) == [], name
    assert leaks(told.pages, OF_NOBODY) == []


def test_the_mesh_saw_the_canaries(told: Told) -> None:
    # or all of the above would be true of a mesh that did nothing
    assert QUERY.encode() in b"".join(path.read_bytes() for path in told.home.rglob("agent.db*"))
    assert ARGUMENT.encode() in b"".join(path.read_bytes() for path in told.home.rglob("*.db*"))
    assert os.path.getsize(told.home / "logs" / "leaky.log") > 0
