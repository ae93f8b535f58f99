"""Drawing a run's trace, from what the control plane's HTTP API says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.unit.services.cli.conftest import Waystation

TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(number: int, name: str, parent: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_span_id": f"{parent:016x}" if parent else "",
        "name": name,
        "service": "agent",
        "state": "ok",
        "status_message": "",
        "start_unix_ms": 1_000.0 + number,
        "end_unix_ms": 1_100.0,
        "attributes": {},
        **fields,
    }


RUN = [
    span(1, "agent.run", state="lost", end_unix_ms=None, attributes={"run.workflow": "auto"}),
    span(
        2,
        "agent.route_recommendation",
        1,
        attributes={"router.recommended": "rag", "router.confidence": 0.834},
    ),
    span(
        3,
        "agent.arbitrate",
        1,
        attributes={"decision.capability": "coding", "decision.source": "model", "decision.reason": "needs\ncode"},
    ),
    span(4, "agent.run", 1, attributes={"run.workflow": "auto", "run.epoch": 2**32 + 2, "run.resume_cause": "crash"}),
    span(5, "agent.hop", 4, attributes={"capability.name": "coding", "capability.outcome": "answered"}),
    span(
        6,
        "model.chat",
        5,
        service="coding",
        attributes={"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3},
    ),
    span(7, "tool.call", 5, state="error", status_message="no", attributes={"gen_ai.tool.name": "clock"}),
]


class Api(ThreadingHTTPServer):
    """Answers with what is set, and pages of it."""

    spans: list[dict[str, Any]] = RUN
    failure: dict[str, Any] | None = None
    paths: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.server.paths.append(unquote(url.path))
        start, size = int(query.get("page_token") or 0), int(query["page_size"])
        end = start + size
        page = {
            "spans": self.server.spans[start:end],
            "next_page_token": str(end) if end < len(self.server.spans) else "",
        }
        body = json.dumps(self.server.failure or page).encode()
        self.send_response(404 if self.server.failure else 200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    server = Api(("127.0.0.1", 0), Handler)
    server.paths = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("WAYSTATION_CONTROL_HTTP_PORT", str(server.server_port))
    monkeypatch.setenv("COLUMNS", "160")
    yield server
    server.shutdown()
    server.server_close()


def test_recommendation_decision_break_tokens_and_failure_can_be_read(waystation: Waystation, api: Api) -> None:
    result = waystation("trace", "run-1")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and len(lines) == len(RUN) + 1
    said = dict(zip([item["name"] for item in RUN], lines, strict=False))
    assert "recommends rag 83%" in said["agent.route_recommendation"]
    assert "decides coding, by model: needs code" in said["agent.arbitrate"]
    assert "†" in lines[0] and "lost with its process" in lines[0]
    assert "resumed after crash, epoch 2" in lines[3]
    assert "m, 12→3 tokens" in said["model.chat"] and "coding" in said["model.chat"]
    assert "✗" in said["tool.call"] and "clock" in said["tool.call"]
    assert lines[-1].startswith("7 spans · 99.0 ms · 12 tokens read, 3 written · 1 error · 1 lost")
    assert max(map(len, lines[:-1])) <= 160


def test_the_document_has_every_span_in_its_place(waystation: Waystation, api: Api) -> None:
    document = json.loads(waystation("trace", TRACE, "--json").stdout)
    assert [(item["depth"], item["offset_ms"]) for item in document["spans"][:3]] == [(0, 0.0), (1, 1.0), (1, 2.0)]
    assert (document["total_ms"], document["is_whole"]) == (99.0, True)


def test_ten_thousand_spans_are_fetched_in_pages_and_drawn(waystation: Waystation, api: Api) -> None:
    api.spans = [span(n, "x", n - 1) for n in range(1, 10_101)]
    result = waystation("trace", "run-1")
    assert len(result.stdout.splitlines()) == 10_001
    assert "There are more: these are the first 10,000." in result.stderr


@pytest.mark.parametrize("width", ["1", "40", "400"])
def test_every_width_is_enough(waystation: Waystation, api: Api, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    odd = span(9, "\x1b[31m\n漢字" * 40, service="\t" * 9, end_unix_ms=-5.0)
    api.spans = [*RUN, span(8, "x", 99), odd]
    result = waystation("trace", "run-1")
    assert result.exit_code == 0 and "\x1b[31m" not in result.stdout
    assert "1 with a parent that is not here" in result.stdout


def test_spans_of_strangers_under_our_names_are_drawn(waystation: Waystation, api: Api) -> None:
    keys = ("run.epoch", "run.resume_cause", "router.confidence", "decision.reason", "gen_ai.usage.input_tokens")
    odd = {key: {"deep": ["\n"]} for key in keys}
    api.spans = [span(n, item["name"], attributes=odd) for n, item in enumerate(RUN, start=1)]
    assert waystation("trace", "run-1").stdout.count("\n") == len(RUN) + 1


def test_a_run_without_spans_is_named(waystation: Waystation, api: Api) -> None:
    api.spans = []
    result = waystation("trace", "no/such?run")
    assert result.exit_code == 1 and "no spans of no/such?run" in result.stderr
    assert api.paths == ["/api/runs/no/such?run/spans"]


def test_what_the_api_refuses_is_said_in_its_words(waystation: Waystation, api: Api) -> None:
    api.failure = {"reason": "NOT_FOUND", "message": "There is no run.", "remedy": "Look.", "metadata": {"a": "b"}}
    error = json.loads(waystation("trace", "x", "--json").stdout)["error"]
    assert (error["reason"], error["message"], error["remedy"]) == ("NOT_FOUND", "There is no run.", "Look.")


def test_a_control_plane_that_is_away_is_named(waystation: Waystation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_CONTROL_HTTP_PORT", "1")
    result = waystation("trace", "x")
    assert result.exit_code == 1 and "does not answer at http://127.0.0.1:1" in result.stderr
