"""The control plane's REST in front of the agent itself: a run is started, steered, looked into and forked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import agent_mesh
from tests.fakes.control_mesh import SCRIPT, Mesh, following, mesh_in, registering

WAIT_S = 60


@asynccontextmanager
async def whole(folder: Path, *, hangs: bool = False) -> AsyncIterator[tuple[Mesh, agent_mesh.Mesh]]:
    """A control plane, and an agent that is registered with it."""
    async with agent_mesh.mesh(folder / "agent", hangs=hangs) as agent, mesh_in(folder / "control") as control:
        await control.registry.Register(registering("agent", agent.address, kind="agent"))
        yield control, agent


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "control").mkdir()


async def start(mesh: Mesh, **body: Any) -> dict[str, Any]:
    answer = await mesh.http.post("/api/runs", json={"query": SCRIPT, "effort": "low", **body}, timeout=WAIT_S)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def followed(mesh: Mesh, run_id: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(WAIT_S), following(mesh, f"/api/runs/{run_id}/events") as events:
        told = [event async for event in events if event.data]
    assert told[-1].json()["reason"] == "finished"
    return [event.json() for event in told[:-1]]


async def until_true(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await check():
            await asyncio.sleep(0.02)


async def test_a_run_is_started_once_followed_to_its_answer_and_looked_into(tmp_path: Path) -> None:
    async with whole(tmp_path) as (mesh, _):
        started = await start(mesh, request_id="wish-1")
        again = await start(mesh, request_id="wish-1")
        run_id, thread_id = started["run"]["run_id"], started["run"]["thread_id"]
        assert (started["is_replayed"], again["is_replayed"], again["run"]["run_id"]) == (False, True, run_id)
        events = await followed(mesh, run_id)
        assert [each["sequence"] for each in events] == list(range(1, len(events) + 1))
        (decision, *_) = (each["payload"]["decision"] for each in events if each["type"] == "decision_made")
        assert (decision["action"], decision["capability"], decision["source"]) == ("call", "coding", "policy")
        run = (await mesh.http.get(f"/api/runs/{run_id}")).json()
        assert (run["state"], run["source"], run["query"]) == ("succeeded", "agent", SCRIPT)
        assert run["citations"][0]["source"] == "notes.md"
        thread = (await mesh.http.get(f"/api/threads/{thread_id}")).json()
        assert [(turn["query"], turn["answer"]) for turn in thread["turns"]] == [(SCRIPT, run["answer"])]
        listed = (await mesh.http.get("/api/workflows")).json()["workflows"]
        assert "auto" in [each["name"] for each in listed]
        route = (await mesh.http.post("/api/route", json={"query": "sort it"})).json()
        assert (route["top"], route["candidates"][0]["confidence"]) == ("coding", 0.95)


async def test_a_runs_checkpoints_are_paged_with_their_state_and_forked(tmp_path: Path) -> None:
    async with whole(tmp_path) as (mesh, _):
        run_id = (await start(mesh))["run"]["run_id"]
        await followed(mesh, run_id)
        path = f"/api/runs/{run_id}/checkpoints"
        every = (await mesh.http.get(path)).json()["checkpoints"]
        assert every[0]["next_nodes"] == [] and all(each["state"] == {} for each in every)
        first = (await mesh.http.get(path, params={"page_size": 2, "has_state": True})).json()
        second = (await mesh.http.get(path, params={"page_token": first["next_page_token"]})).json()
        paged = [*first["checkpoints"], *second["checkpoints"]]
        assert [each["checkpoint_id"] for each in paged] == [each["checkpoint_id"] for each in every]
        assert first["checkpoints"][0]["state"]["query"] == SCRIPT
        fork = {"checkpoint_id": every[-1]["checkpoint_id"], "request_id": "fork-1"}
        made = await mesh.http.post(f"/api/runs/{run_id}/forks", json=fork, timeout=WAIT_S)
        assert made.status_code == 201, made.text
        assert made.json()["thread_id"] != every[0]["thread_id"]
        assert (await followed(mesh, made.json()["run_id"]))[-1]["payload"]["run"]["state"] == "succeeded"
        wrong = await mesh.http.post(f"/api/runs/{run_id}/forks", json={"checkpoint_id": "nope"})
        assert wrong.status_code in (400, 404)


async def test_a_run_is_paused_edited_resumed_and_what_was_done_is_on_record(tmp_path: Path) -> None:
    async with whole(tmp_path, hangs=True) as (mesh, agent):
        run_id = (await start(mesh))["run"]["run_id"]
        async with asyncio.timeout(WAIT_S):
            await agent.service.was_called.wait()
        act = {"actor": "ann", "reason": SCRIPT, "request_id": "act-1", "action": {"type": "pause"}}
        done = await mesh.http.post(f"/api/runs/{run_id}/interventions", json=act)
        assert done.status_code == 201, done.text
        assert (done.json()["intervention"]["entry"], done.json()["intervention"]["actor"]) == (1, "ann")
        agent.service.hang.set()

        async def is_paused() -> bool:
            return bool((await mesh.http.get(f"/api/runs/{run_id}")).json()["state"] == "paused")

        await until_true(is_paused)
        newest = (await mesh.http.get(f"/api/runs/{run_id}/checkpoints")).json()["checkpoints"][0]
        body = {"updates": {"query": "sort them"}, "checkpoint_id": newest["checkpoint_id"]}
        edited = await mesh.http.patch(f"/api/runs/{run_id}/state", json=body)
        assert (edited.status_code, edited.json()["state"]["query"]) == (200, "sort them"), edited.text
        protected = await mesh.http.patch(f"/api/runs/{run_id}/state", json={"updates": {"hops": []}})
        assert (protected.status_code, protected.json()["reason"]) == (403, "FORBIDDEN")
        agent.model.decisions.append({"action": "answer", "task": "", "reason": "done"})
        assert (await mesh.http.post(f"/api/runs/{run_id}/resume", json={})).status_code == 200
        assert (await followed(mesh, run_id))[-1]["payload"]["run"]["state"] == "succeeded"
        late = await mesh.http.post(f"/api/runs/{run_id}/pause", json={})
        assert (late.status_code, late.json()["reason"]) == (409, "WRONG_STATE")
        (recorded,) = (await mesh.http.get("/api/audit")).json()["interventions"]
        assert (recorded["reason"], recorded["outcome"]) == (SCRIPT, "applied")
        check = (await mesh.http.get("/api/audit/check")).json()
        assert check["is_intact"] and check["entry_count"] >= 1


async def test_a_message_from_outside_is_stored_once_and_a_cancelled_run_takes_none(tmp_path: Path) -> None:
    async with whole(tmp_path, hangs=True) as (mesh, _):
        run_id = (await start(mesh))["run"]["run_id"]
        path = f"/api/runs/{run_id}/messages"
        body = {"recipient_role": "coding", "payload": {"note": SCRIPT, "n": 3}, "message_id": "m1"}
        sent = [await mesh.http.post(path, json=body) for _ in range(2)]
        assert [each.status_code for each in sent] == [201, 201], sent[0].text
        (stored,) = (await mesh.http.get(path)).json()["messages"]
        assert (stored["sender_role"], stored["payload"]) == ("user", {"note": SCRIPT, "n": 3})
        unknown = await mesh.http.post(path, json={**body, "message_id": "m2", "recipient_role": "nobody"})
        assert (unknown.status_code, unknown.json()["reason"]) == (404, "NOT_FOUND")
        stopped = await mesh.http.post(f"/api/runs/{run_id}/cancel", json={"message": "enough"})
        assert stopped.status_code == 200
        await followed(mesh, run_id)
        after = await mesh.http.post(path, json={**body, "message_id": "m3"})
        assert (after.status_code, after.json()["reason"]) == (409, "WRONG_STATE")
        pruned = await mesh.http.post("/api/runs/prune", json={"older_than_s": 0, "is_dry_run": True})
        assert pruned.json()["deleted_runs"] == 1
