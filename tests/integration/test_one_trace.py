"""A run whose agent is killed twice in mid-hop, over real processes: one connected trace that tells of both deaths."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from shared.telemetry import attributes
from tests.mesh import Mesh, scripted_mesh

SLOW_CODE = "Here it is.\n```python\nprint(42)\n```\n" + " ".join(f"word{number}" for number in range(40))
SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "answer_now"}},
    {"match": "", "schema_name": "^decision$", "reply": {"reason": "scripted", "next": "coding"}},
    {"match": "double", "reply": SLOW_CODE, "delay_ms": 60},
]
DEADLINE_S = 60.0

Span = dict[str, Any]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is up, with a scripted chat model."""
    with scripted_mesh(tmp_path_factory.mktemp("trace"), SCRIPT) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def spans(mesh: Mesh) -> list[Span]:
    """What is stored of a run that was killed twice."""
    with mesh.start("ask", "write a function that can double a number", "--events") as asking:
        run_id = ""
        starts = 0
        model_server = mesh.record("models")["pid"]
        assert asking.stdout
        for line in asking.stdout:
            event = json.loads(line)
            run_id = run_id or event["run_id"]
            starts += "hop_started" in event
            if "hop_started" in event and starts < 3:
                if starts == 1:
                    wait_for_child(mesh, run_id, event["span_id"])
                    os.kill(model_server, signal.SIGSTOP)  # however slow this machine is, the hop cannot end yet
                # the second time nobody may have been told yet
                os.kill(mesh.record("agent")["pid"], signal.SIGKILL)
                if starts == 2:
                    os.kill(model_server, signal.SIGCONT)
    assert asking.returncode == 0, mesh.logs()
    assert starts == 3
    return until(mesh, lambda: settled(stored(mesh, run_id)))  # type: ignore[no-any-return]


def stored(mesh: Mesh, run_id: str) -> list[Span]:
    port = mesh.environ["WAYSTATION_CONTROL_HTTP_PORT"]
    answer = httpx.get(f"http://127.0.0.1:{port}/api/runs/{run_id}/spans", timeout=10)
    return list(answer.json()["spans"]) if answer.status_code == 200 else []


def wait_for_child(mesh: Mesh, run_id: str, span_id: str) -> None:
    until(mesh, lambda: any(span["parent_span_id"] == span_id for span in stored(mesh, run_id)))


def settled(spans: list[Span]) -> list[Span]:
    is_over = any(span["name"] == attributes.SPAN_RUN and span["state"] == "ok" for span in spans)
    return spans if is_over and all(span["state"] != "running" for span in spans) else []


def until(mesh: Mesh, found: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_S:g} s\n{mesh.logs()}")


def named(spans: list[Span], name: str) -> list[Span]:
    return sorted((span for span in spans if span["name"] == name), key=lambda span: span["start_unix_ms"])


def test_every_parent_is_there_and_all_hangs_from_the_request(spans: list[Span]) -> None:
    ids = {span["span_id"] for span in spans}
    orphans = [(span["name"], span["service"]) for span in spans if span["parent_span_id"] not in {"", *ids}]
    assert orphans == []
    assert [span["name"] for span in spans if not span["parent_span_id"]] == [
        "/waystation.agent.v1.AgentService/StartRun"
    ]
    assert len({span["trace_id"] for span in spans}) == 1
    of_the_request = [span for span in spans if not span["parent_span_id"] or span["name"] == attributes.SPAN_RUN]
    assert len({span["attributes"][attributes.CORRELATION_ID] for span in of_the_request}) == 1


def test_each_epoch_is_a_span_that_links_to_the_one_before(spans: list[Span]) -> None:
    epochs = named(spans, attributes.SPAN_RUN)
    assert [span["state"] for span in epochs] == ["lost", "lost", "ok"]
    numbers = [span["attributes"][attributes.EPOCH] for span in epochs]
    assert numbers == sorted(set(numbers))
    links = [[link["span_id"] for link in span["links"]] for span in epochs]
    assert links == [[], [epochs[0]["span_id"]], [epochs[1]["span_id"]]]
    assert len(named(spans, attributes.SPAN_CHECKPOINT_RESTORE)) == 2


def test_what_died_is_closed_and_hangs_from_its_own_epoch(spans: list[Span]) -> None:
    hops = named(spans, attributes.SPAN_HOP)
    assert [span["state"] for span in hops] == ["lost", "lost", "ok"], [span["status_message"] for span in hops]
    assert [span["parent_span_id"] for span in hops] == [span["span_id"] for span in named(spans, attributes.SPAN_RUN)]
    for span in spans:
        assert span["end_unix_ms"] is not None
        assert span["end_unix_ms"] >= span["start_unix_ms"]


def test_what_a_hop_called_hangs_from_it(spans: list[Span]) -> None:
    served = [span for span in spans if span["service"] == "coding" and span["kind"] == "server"]
    first, second, third = (span["span_id"] for span in named(spans, attributes.SPAN_HOP))
    assert {first, third} <= {span["parent_span_id"] for span in served} <= {first, second, third}


def test_the_run_shows_as_an_agents_run_by_the_conventions(spans: list[Span]) -> None:
    operations = {span["name"]: span["attributes"].get(attributes.OPERATION) for span in spans}
    assert operations[attributes.SPAN_RUN] == attributes.INVOKE_AGENT
    assert operations[attributes.SPAN_HOP] == attributes.INVOKE_AGENT
    assert operations[attributes.SPAN_ARBITRATE] == attributes.PLAN
    assert operations[attributes.SPAN_CHAT] == attributes.CHAT
