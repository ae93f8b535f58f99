"""What can be done over HTTP, against an agent behind real gRPC: each wish arrives whole, each failure has a name."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from shared.errors import Draining, InDoubt, InvalidInput, NotFound, ThreadBusy, WaystationError, WrongState
from shared.pb import agent_v1, common_v1
from tests.fakes.control_mesh import SCRIPT, Mesh, mesh_in, reporting
from tests.fakes.steered_agent import SteeredAgent, steered_agent_at

RUN = agent_v1.Run(run_id="r1", thread_id="t1", query=SCRIPT, state=agent_v1.Run.STATE_PAUSED)
CORRELATION = "0b6f7d0e-6f1d-4d61-9a0e-2f1a4f0f7a11"


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path_factory.mktemp("control")) as mesh:
        yield mesh


@pytest_asyncio.fixture(loop_scope="module")
async def agent(mesh: Mesh) -> AsyncIterator[SteeredAgent]:
    async with steered_agent_at(mesh) as agent:
        yield agent


@dataclass(frozen=True)
class Wish:
    """A request, what the agent hears and answers, and a part of what comes back."""

    call: str
    method: str
    path: str
    body: dict[str, Any] | None
    heard: dict[str, Any]
    answer: Message
    told: dict[str, Any] = field(default_factory=dict)
    status: int = 200


CHECKPOINT = agent_v1.Checkpoint(checkpoint_id="c2", run_id="r1", step=3, next_nodes=["respond"])
CHECKPOINT.state.update({"query": SCRIPT, "remaining_hops": 2})
MESSAGE = common_v1.A2aMessage(message_id="m1", recipient_role="coder", state=common_v1.A2aMessage.STATE_PENDING)
MESSAGE.payload.update({"note": SCRIPT})
ACT = agent_v1.Intervention(intervention_id="i1", run_id="r1", actor="ann", action="pause", entry=7, sha256="ab")
WORKFLOW = agent_v1.Workflow(name="auto", diagram="graph TD", max_hops=3, origin="python")
DONE = agent_v1.InterveneResponse(intervention=ACT, run=RUN)


def intervention(action: dict[str, Any], heard: dict[str, Any]) -> Wish:
    return Wish(
        "Intervene",
        "POST",
        "/api/runs/r1/interventions",
        {"actor": "ann", "reason": SCRIPT, "request_id": "q1", "action": action},
        {"run_id": "r1", "actor": "ann", "reason": SCRIPT, "request_id": "q1", **heard},
        DONE,
        {"intervention.entry": 7, "intervention.apply_time": None, "run.state": "paused"},
        201,
    )


WISHES = [
    Wish(
        "StartRun",
        "POST",
        "/api/runs",
        {
            "query": SCRIPT,
            "workflow": "auto",
            "effort": "low",
            "thread_id": "t1",
            "tenant": "a",
            "request_id": "q1",
            "run_timeout_s": 1.5,
        },
        {
            "query": SCRIPT,
            "workflow": "auto",
            "effort": "EFFORT_LOW",
            "thread_id": "t1",
            "tenant": "a",
            "request_id": "q1",
            "run_timeout": "1.500s",
        },
        agent_v1.StartRunResponse(run=RUN, is_replayed=True),
        {"run.query": SCRIPT, "run.source": "agent", "is_replayed": True},
        201,
    ),
    Wish(
        "StartRun",
        "POST",
        "/api/runs",
        {"query": "Why?"},
        {"query": "Why?"},
        agent_v1.StartRunResponse(run=RUN),
        {"run.run_id": "r1", "is_replayed": False},
        201,
    ),
    Wish(
        "PauseRun",
        "POST",
        "/api/runs/r1/pause",
        {"request_id": "q1"},
        {"run_id": "r1", "request_id": "q1"},
        agent_v1.PauseRunResponse(run=RUN),
        {"state": "paused"},
    ),
    Wish(
        "ResumeRun",
        "POST",
        "/api/runs/r1/resume",
        {},
        {"run_id": "r1"},
        agent_v1.ResumeRunResponse(run=RUN),
        {"state": "paused"},
    ),
    Wish(
        "CancelRun",
        "POST",
        "/api/runs/r%3F1/cancel",
        {"message": SCRIPT},
        {"run_id": "r?1", "message": SCRIPT},
        agent_v1.CancelRunResponse(run=RUN),
    ),
    Wish(
        "AnswerQuestion",
        "POST",
        "/api/runs/r1/answers",
        {"question_id": "q", "answer": {"choice": [1, True, None, "é"]}, "request_id": "q1"},
        {
            "run_id": "r1",
            "question_id": "q",
            "answer": {"choice": [1.0, True, None, "é"]},
            "request_id": "q1",
        },
        agent_v1.AnswerQuestionResponse(run=RUN),
    ),
    Wish(
        "ListCheckpoints",
        "GET",
        "/api/runs/r1/checkpoints?has_state=true&page_size=2&page_token=x",
        None,
        {"run_id": "r1", "has_state": True, "page_size": 2, "page_token": "x"},
        agent_v1.ListCheckpointsResponse(checkpoints=[CHECKPOINT], next_page_token="y"),
        {"checkpoints.0.state": {"query": SCRIPT, "remaining_hops": 2}, "next_page_token": "y"},
    ),
    Wish(
        "ForkRun",
        "POST",
        "/api/runs/r1/forks",
        {"checkpoint_id": "c1", "updates": {"effort": "high"}, "request_id": "q1"},
        {"run_id": "r1", "checkpoint_id": "c1", "updates": {"effort": "high"}, "request_id": "q1"},
        agent_v1.ForkRunResponse(run=RUN),
        {"run_id": "r1"},
        201,
    ),
    Wish(
        "UpdateState",
        "PATCH",
        "/api/runs/r1/state",
        {"updates": {"remaining_hops": 2}, "checkpoint_id": "c1", "request_id": "q1"},
        {"run_id": "r1", "updates": {"remaining_hops": 2.0}, "checkpoint_id": "c1", "request_id": "q1"},
        agent_v1.UpdateStateResponse(checkpoint=CHECKPOINT),
        {"checkpoint_id": "c2", "step": 3, "next_nodes": ["respond"]},
    ),
    Wish(
        "PruneRuns",
        "POST",
        "/api/runs/prune",
        {"older_than_s": 60, "keep": 5, "is_dry_run": True},
        {"older_than": "60s", "keep": 5, "is_dry_run": True},
        agent_v1.PruneRunsResponse(deleted_runs=3, freed_bytes=2**40),
        {"deleted_runs": 3, "freed_bytes": 2**40},
    ),
    Wish(
        "ListMessages",
        "GET",
        "/api/runs/r1/messages?page_size=1",
        None,
        {"run_id": "r1", "page_size": 1},
        agent_v1.ListMessagesResponse(messages=[MESSAGE], next_page_token="z"),
        {"messages.0.payload": {"note": SCRIPT}, "messages.0.state": "pending", "next_page_token": "z"},
    ),
    Wish(
        "SendMessage",
        "POST",
        "/api/runs/r1/messages",
        {
            "message_id": "m1",
            "recipient_role": "coder",
            "payload": {"note": SCRIPT},
            "in_reply_to": "m0",
            "expire_time": "2026-11-21T12:00:00+01:00",
        },
        {
            "run_id": "r1",
            "message": {
                "message_id": "m1",
                "recipient_role": "coder",
                "payload": {"note": SCRIPT},
                "in_reply_to": "m0",
                "expire_time": "2026-11-21T11:00:00Z",
            },
        },
        agent_v1.SendMessageResponse(message=MESSAGE),
        {"message_id": "m1", "recipient_role": "coder"},
        201,
    ),
    intervention({"type": "pause"}, {"pause": {}}),
    intervention({"type": "resume"}, {"resume": {}}),
    intervention({"type": "cancel"}, {"cancel": {}}),
    intervention({"type": "set_state", "state": {"effort": "low"}}, {"override": {"state": {"effort": "low"}}}),
    intervention({"type": "force_capability", "capability": "rag"}, {"override": {"force_capability": "rag"}}),
    intervention({"type": "veto_capability", "capability": "rag"}, {"override": {"veto_capability": "rag"}}),
    intervention({"type": "skip_step", "step": "review"}, {"override": {"skip_step": "review"}}),
    intervention({"type": "set_remaining_hops", "remaining_hops": 0}, {"override": {"remaining_hops": 0}}),
    Wish(
        "ListInterventions",
        "GET",
        "/api/runs/r1/interventions",
        None,
        {"run_id": "r1"},
        agent_v1.ListInterventionsResponse(interventions=[ACT]),
        {"interventions.0.sha256": "ab", "next_page_token": ""},
    ),
    Wish(
        "ListInterventions",
        "GET",
        "/api/audit?page_size=9",
        None,
        {"page_size": 9},
        agent_v1.ListInterventionsResponse(interventions=[ACT]),
        {"interventions.0.actor": "ann"},
    ),
    Wish(
        "VerifyAudit",
        "GET",
        "/api/audit/check",
        None,
        {},
        agent_v1.VerifyAuditResponse(entry_count=9, first_broken_entry=4, head_sha256="cd"),
        {"is_intact": False, "entry_count": 9, "first_broken_entry": 4, "head_sha256": "cd"},
    ),
    Wish(
        "ListWorkflows",
        "GET",
        "/api/workflows",
        None,
        {},
        agent_v1.ListWorkflowsResponse(workflows=[WORKFLOW]),
        {"workflows.0.name": "auto"},
    ),
    Wish(
        "GetWorkflow",
        "GET",
        "/api/workflows/auto",
        None,
        {"name": "auto"},
        agent_v1.GetWorkflowResponse(workflow=WORKFLOW),
        {"diagram": "graph TD", "max_cycles": 0},
    ),
    Wish(
        "CheckWorkflow",
        "POST",
        "/api/workflows/check",
        {"document": "steps: []", "file_name": "a.yaml"},
        {"document": "steps: []", "file_name": "a.yaml"},
        agent_v1.CheckWorkflowResponse(problems=[agent_v1.WorkflowProblem(line=1, path="steps", message=SCRIPT)]),
        {"problems.0.message": SCRIPT, "workflow": None},
    ),
    Wish(
        "CheckWorkflow",
        "POST",
        "/api/workflows/check",
        {"document": "good"},
        {"document": "good"},
        agent_v1.CheckWorkflowResponse(workflow=WORKFLOW),
        {"problems": [], "workflow.name": "auto"},
    ),
    Wish(
        "GetThread",
        "GET",
        "/api/threads/t1",
        None,
        {"thread_id": "t1"},
        agent_v1.GetThreadResponse(
            thread=agent_v1.Thread(
                thread_id="t1",
                turns=[agent_v1.Thread.Turn(run_id="r1", query="Why?", treatment=agent_v1.Thread.TREATMENT_SUMMARIZED)],
            )
        ),
        {"turns.0.treatment": "summarized", "context_budget_tokens": 0},
    ),
    Wish(
        "RecommendRoute",
        "POST",
        "/api/route",
        {"query": "Why?", "tags": ["docs"]},
        {"query": "Why?", "tags": ["docs"]},
        agent_v1.RecommendRouteResponse(
            recommendation=agent_v1.Recommendation(
                top="rag", candidates=[agent_v1.Recommendation.Candidate(service="rag", confidence=0.5)]
            )
        ),
        {"top": "rag", "candidates.0.confidence": 0.5, "latency_ms": None},
    ),
]


def found_at(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = document[int(part)] if part.isdigit() else document[part]
    return document


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: f"{wish.method} {wish.path}")
async def test_a_wish_arrives_whole_and_its_answer_comes_back(mesh: Mesh, agent: SteeredAgent, wish: Wish) -> None:
    agent.answers[wish.call] = wish.answer
    answer = await mesh.http.request(wish.method, wish.path, json=wish.body)
    assert answer.status_code == wish.status, answer.text
    assert [MessageToDict(each, preserving_proto_field_name=True) for each in agent.requests] == [wish.heard]
    assert {path: found_at(answer.json(), path) for path in wish.told} == wish.told
    assert 0 < agent.remaining_s[0] < 61


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: f"{wish.method} {wish.path}")
async def test_what_an_agent_has_not_built_is_501(mesh: Mesh, agent: SteeredAgent, wish: Wish) -> None:
    answer = await mesh.http.request(wish.method, wish.path, json=wish.body)
    assert (answer.status_code, answer.json()["reason"]) == (501, "NOT_BUILT")


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: f"{wish.method} {wish.path}")
async def test_without_an_agent_nothing_is_done_and_the_remedy_is_named(mesh: Mesh, wish: Wish) -> None:
    answer = await mesh.http.request(wish.method, wish.path, json=wish.body)
    assert (answer.status_code, answer.json()["reason"]) == (503, "PEER_UNAVAILABLE")
    assert "waystation up" in answer.json()["remedy"]


async def test_while_the_agent_is_down_the_runs_are_still_listed(mesh: Mesh) -> None:
    run = agent_v1.Run(run_id="r1", query="Who?", last_sequence=1)
    await mesh.telemetry.ReportRunEvents(reporting(run))
    assert (await mesh.http.post("/api/runs/r1/pause", json={})).status_code == 503
    assert "r1" in [each["run_id"] for each in (await mesh.http.get("/api/runs")).json()["runs"]]


@pytest.mark.parametrize(
    "failure, status, reason",
    [
        (NotFound("There is no run 'r1'.", remedy="List them.", run_id="r1"), 404, "NOT_FOUND"),
        (WrongState("Run r1 has ended.", remedy="Start another.", state="succeeded"), 409, "WRONG_STATE"),
        (ThreadBusy("t1 is busy.", run_id="r0"), 409, "THREAD_BUSY"),
        (InDoubt("Nobody knows."), 409, "IN_DOUBT"),
        (InvalidInput("No.", field="updates"), 400, "INVALID_INPUT"),
        (Draining("The agent is draining.", remedy="Try again when it is back."), 503, "DRAINING"),
    ],
)
async def test_the_agents_refusal_comes_through_with_its_remedy_and_facts(
    mesh: Mesh, agent: SteeredAgent, failure: WaystationError, status: int, reason: str
) -> None:
    agent.failure = failure
    answer = await mesh.http.post("/api/runs/r1/resume", json={})
    told = answer.json()
    assert (answer.status_code, told["reason"], told["message"]) == (status, reason, failure.message)
    assert told["remedy"] == failure.remedy
    assert failure.metadata.items() <= told["metadata"].items()
    assert told["metadata"]["correlation_id"] == answer.headers["x-correlation-id"]


async def test_the_correlation_id_goes_through_to_the_agent_and_back(mesh: Mesh, agent: SteeredAgent) -> None:
    agent.answers["StartRun"] = agent_v1.StartRunResponse(run=RUN)
    for sent in ({"x-correlation-id": CORRELATION}, {}, {"x-correlation-id": "<script>"}):
        answer = await mesh.http.post("/api/runs", json={"query": "Why?"}, headers=sent)
        assert answer.headers["x-correlation-id"] == agent.correlation_ids[-1]
    assert agent.correlation_ids[0] == CORRELATION
    assert len(set(agent.correlation_ids)) == 3


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("POST", "/api/runs", b'{"query": '),
        ("POST", "/api/runs", b"\xff\xfe"),
        ("POST", "/api/runs", b"[" * 100_000),
        ("POST", "/api/runs", b""),
        ("POST", "/api/runs", b"[]"),
        ("POST", "/api/runs", b'{"query": ""}'),
        ("POST", "/api/runs", b'{"query": 7}'),
        ("POST", "/api/runs", b'{"query": "\\ud800"}'),
        ("POST", "/api/runs", b'{"query": "?", "colour": "red"}'),
        ("POST", "/api/runs", b'{"query": "?", "effort": "heroic"}'),
        ("POST", "/api/runs", b'{"query": "?", "run_timeout_s": 0}'),
        ("POST", "/api/runs", b'{"query": "?", "run_timeout_s": NaN}'),
        ("POST", "/api/runs", b'{"query": "?", "run_timeout_s": 1e300}'),
        ("POST", "/api/runs", b'{"query": "?", "request_id": "' + b"x" * 129 + b'"}'),
        ("POST", "/api/runs", json.dumps({"query": "x" * 32_769}).encode()),
        ("POST", "/api/runs/r1/pause", b'"now"'),
        ("POST", "/api/runs/r1/answers", b'{"question_id": "q"}'),
        ("POST", "/api/runs/r1/answers", b'{"question_id": "q", "answer": ' + b"[" * 40 + b"]" * 40 + b"}"),
        ("POST", "/api/runs/r1/answers", b'{"question_id": "q", "answer": NaN}'),
        ("POST", "/api/runs/r1/answers", b'{"question_id": "q", "answer": 1' + b"0" * 400 + b"}"),
        ("POST", "/api/runs/r1/answers", b'{"question_id": "q", "answer": {"\\ud800": 1}}'),
        ("POST", "/api/runs/prune", b'{"older_than_s": 60}'),
        ("POST", "/api/runs/prune", b'{"older_than_s": -1, "is_dry_run": true}'),
        ("PATCH", "/api/runs/r1/state", b'{"updates": []}'),
        ("POST", "/api/runs/r1/forks", b'{"checkpoint_id": ""}'),
        ("POST", "/api/runs/r1/messages", b'{"recipient_role": "coder", "payload": "text"}'),
        ("POST", "/api/runs/r1/messages", b'{"recipient_role": "c", "payload": {}, "expire_time": "2026-01-01T00:00"}'),
        ("POST", "/api/runs/r1/interventions", b'{"actor": "ann", "reason": "", "action": {"type": "pause"}}'),
        ("POST", "/api/runs/r1/interventions", b'{"actor": "ann", "reason": "x", "action": {"type": "explode"}}'),
        ("POST", "/api/runs/r1/interventions", b'{"actor": "ann", "reason": "x", "action": {"type": "skip_step"}}'),
        ("GET", "/api/runs/r1/checkpoints?page_size=501", b""),
        ("GET", "/api/runs/r1/checkpoints?has_state=perhaps", b""),
        ("GET", "/api/runs/" + "r" * 201, b""),
    ],
)
async def test_bad_input_is_refused_before_the_agent_hears_of_it(
    mesh: Mesh, agent: SteeredAgent, method: str, path: str, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = await mesh.http.request(method, path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_INPUT"), answer.text
    assert agent.requests == []


@pytest.mark.parametrize("sent", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_a_foreign_page_can_send_unasked_changes_nothing(mesh: Mesh, agent: SteeredAgent, sent: str) -> None:
    headers = {"content-type": sent} if sent else {}
    answer = await mesh.http.post("/api/runs/r1/cancel", content=b'{"message": "x"}', headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (415, "INVALID_INPUT")
    assert agent.requests == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "file://"])
async def test_pages_of_other_origins_change_nothing(mesh: Mesh, agent: SteeredAgent, origin: str) -> None:
    answer = await mesh.http.post("/api/runs/r1/cancel", json={}, headers={"origin": origin})
    assert (answer.status_code, answer.json()["metadata"]["rule"]) == (403, "origin")
    asked = await mesh.http.options("/api/runs/r1/cancel", headers={"origin": origin})
    assert asked.status_code == 403
    assert agent.requests == []


async def test_pages_of_this_machine_may_act(mesh: Mesh, agent: SteeredAgent) -> None:
    agent.answers["CancelRun"] = agent_v1.CancelRunResponse(run=RUN)
    answer = await mesh.http.post("/api/runs/r1/cancel", json={}, headers={"origin": "http://localhost:3000"})
    assert answer.status_code == 200


async def test_a_body_of_ten_megabytes_is_refused_unread(mesh: Mesh, agent: SteeredAgent) -> None:
    head = (
        f"POST /api/runs HTTP/1.1\r\nHost: 127.0.0.1:{mesh.http_port}\r\nContent-Type: application/json\r\n"
        "Content-Length: 10000000\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.http_port, family=socket.AF_INET)
    try:
        writer.write(head.encode())  # and not a byte of the body
        async with asyncio.timeout(30):
            status = await reader.readline()
    finally:
        writer.close()
    assert status.split()[1] == b"413"
    assert agent.requests == []


async def test_a_body_without_a_length_is_refused(mesh: Mesh, agent: SteeredAgent) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"query": "?"}'

    answer = await mesh.http.post("/api/runs", content=pieces(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (411, "INVALID_INPUT")


async def test_runs_are_found_by_the_capability_they_called(mesh: Mesh) -> None:
    for run_id, capability in (("r1", "rag"), ("r2", "coding")):
        run = agent_v1.Run(run_id=run_id, last_sequence=1)
        hop = agent_v1.RunEvent(run_id=run_id, sequence=1, hop_started=agent_v1.HopStarted(capability=capability))
        await mesh.telemetry.ReportRunEvents(reporting(run, events=[hop]))
    both = agent_v1.Run(run_id="r2", last_sequence=2)
    hop = agent_v1.RunEvent(run_id="r2", sequence=2, hop_started=agent_v1.HopStarted(capability="rag"))
    await mesh.telemetry.ReportRunEvents(reporting(both, events=[hop]))

    async def found(service: str) -> set[str]:
        answer = await mesh.http.get("/api/runs", params={"service": service})
        return {run["run_id"] for run in answer.json()["runs"]}

    assert [await found(name) for name in ("rag", "coding", "tools")] == [{"r1", "r2"}, {"r2"}, set()]
    await mesh.telemetry.ReportRunEvents(reporting(deleted_run_ids=["r2"]))
    assert [await found(name) for name in ("rag", "coding")] == [{"r1"}, set()]
