"""The mesh does its job over real processes; only the chat model is scripted, behind its real HTTP door."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.mesh import ROOT, Mesh, scripted_mesh

LONG_ANSWER = " ".join(f"word{number}" for number in range(60))
CODE = "Here it is.\n```python\ndef double(n):\n    return 2 * n\n\nprint(double(21))\n```"


def decide(match: str, following: str) -> dict[str, Any]:
    # only the request that is to be decided on has a confidence; the prompt's examples have none
    asked = f'Request: [^\\n]*{match}[^\\n]*\\nRouter: [^\\n]*"confidence"' if match else ""
    return {"match": asked, "schema_name": "^decision$", "reply": {"reason": "scripted", "next": following}}


SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    decide("function", "coding"),
    decide("retention", "rag"),
    decide("", "answer_now"),
    {"match": "tell me a long story", "reply": LONG_ANSWER, "delay_ms": 60},
    {"match": "double", "reply": CODE},
    {"match": "retention", "reply": "Backups are kept for 35 days [1]."},
    {"match": "hi there", "reply": "Hello! How can I help?"},
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is up, with a scripted chat model."""
    with scripted_mesh(tmp_path_factory.mktemp("mesh"), SCRIPT) as mesh:
        yield mesh


def test_small_talk_is_answered_without_a_hop(mesh: Mesh) -> None:
    answer = mesh.answer("ask", "hi there")
    assert answer["answer"] == "Hello! How can I help?"
    assert answer["hops"] == []


def test_code_is_written_run_and_shown(mesh: Mesh) -> None:
    answer = mesh.answer("ask", "write and run a function that can double a number")
    assert [hop["capability"] for hop in answer["hops"]] == ["coding"]
    assert [item["kind"] for item in answer["artifacts"]] == ["code", "run"]
    assert "42" in answer["answer"]


def test_an_ingested_document_is_cited_by_file_and_line(mesh: Mesh, tmp_path: Path) -> None:
    note = tmp_path / "backup-policy.md"
    note.write_text("# Backups\n\nThe nightly job runs at two.\n\nThe retention of nightly backups is 35 days.\n")
    assert mesh.run("ingest", str(note)).returncode == 0
    answer = mesh.answer("ask", "what is the retention of our nightly backups?")
    assert "35 days" in answer["answer"]
    [citation] = answer["citations"]
    assert citation["source"].endswith("backup-policy.md")
    assert int(citation["start_line"]) <= 5 <= int(citation["end_line"])


def test_a_killed_agent_goes_on_and_the_asker_notices_only_a_pause(mesh: Mesh) -> None:
    with mesh.start("ask", "please tell me a long story", "--events") as asking:
        assert asking.stdout
        for line in asking.stdout:
            if "text_produced" in line:
                break
        pid = mesh.record("agent")["pid"]
        os.kill(pid, signal.SIGKILL)
        events = [json.loads(line) for line in asking.stdout]
    assert asking.returncode == 0
    kinds = [kind for event in events for kind in event if kind in ("run_resumed", "state_changed")]
    assert "run_resumed" in kinds
    run = events[-1]["state_changed"]["run"]
    assert (run["state"], run["answer"]) == ("STATE_SUCCEEDED", LONG_ANSWER)
    assert mesh.record("agent")["pid"] != pid
    sequences = [int(event["sequence"]) for event in events]
    assert sequences == sorted(set(sequences))


def test_a_killed_service_costs_at_most_its_hop(mesh: Mesh) -> None:
    pid = mesh.record("coding")["pid"]
    os.kill(pid, signal.SIGKILL)
    answer = mesh.answer("ask", "write and run a function that can double a number")
    assert answer["answer"]
    wait_for_new(mesh, "coding", pid)


def test_every_door_offers_reflection_and_health(mesh: Mesh) -> None:
    for service in ("agent", "control", "rag", "coding", "tools"):
        address = mesh.record(service)["address"]
        done = subprocess.run([sys.executable, "-m", "shared.rpc.probe", address], capture_output=True, text=True)
        assert done.returncode == 0, (service, done.stderr)


def test_the_run_is_seen_over_http_with_its_spans(mesh: Mesh) -> None:
    run_id = mesh.answer("ask", "hi there")["run_id"]
    base = f"http://127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_HTTP_PORT']}/api"
    wanted = {"agent.run", "agent.route_recommendation", "agent.arbitrate", "agent.respond", "checkpoint.save"}
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{base}/runs/{run_id}").json()["state"] == "succeeded"
        end = time.monotonic() + 10
        names: set[str] = set()
        while not wanted <= names and time.monotonic() < end:
            spans = client.get(f"{base}/runs/{run_id}/spans").json()
            names = {span["name"] for span in spans.get("spans", spans)}
    assert wanted <= names


@pytest.mark.parametrize(("query", "limit"), [("", "text"), ("x" * 40_000, "32768"), ("bell\x07", "U+0007")])
def test_a_bad_question_is_refused_by_name(mesh: Mesh, query: str, limit: str) -> None:
    done = mesh.run("ask", query, "--json")
    assert done.returncode != 0
    assert limit in done.stdout + done.stderr


def test_ten_lines_of_python_and_of_node_can_ask(mesh: Mesh, tmp_path: Path) -> None:
    folder = ROOT / "examples" / "clients"
    address = mesh.record("agent")["address"]
    environ = {**mesh.environ, "PYTHONPATH": str(ROOT), "AGENT_ADDRESS": address}
    python = subprocess.run(
        [sys.executable, str(folder / "ask.py"), "hi there"], env=environ, capture_output=True, text=True, check=False
    )
    assert python.stdout.splitlines()[-1] == "Hello! How can I help?", python.stderr
    installed = subprocess.run(["npm", "ci", "--silent"], cwd=folder, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    node = subprocess.run(
        ["node", "ask.mjs", "hi there"], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert node.stdout.splitlines()[-1] == "Hello! How can I help?", node.stderr


def wait_for_new(mesh: Mesh, service: str, before: int) -> None:
    end = time.monotonic() + 30
    while mesh.record(service).get("pid") in (None, before):
        assert time.monotonic() < end, mesh.logs()
        time.sleep(0.05)
