"""The observability mode over real gRPC, HTTP and server-sent events."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from shared.errors import InvalidInput
from shared.pb import control_v1
from shared.rpc.status import peer_errors
from tests.fakes.control_mesh import Mesh, following, mesh_in, registering, until

SHIPPING, DEBUG = control_v1.MODE_SHIPPING, control_v1.MODE_DEBUG


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


def observability(mesh: Mesh) -> Any:
    return control_v1.ObservabilityServiceStub(mesh.channel)


async def test_the_mode_is_set_told_and_watched_everywhere(mesh: Mesh) -> None:
    watch = observability(mesh).WatchMode(control_v1.WatchModeRequest())
    assert (await watch.read()).mode == control_v1.ModeState(mode=SHIPPING, set_mode=SHIPPING)
    async with following(mesh, "/api/events") as events:
        await until(events, "ready")
        await observability(mesh).SetMode(control_v1.SetModeRequest(mode=DEBUG, actor="ann", reason="slow runs"))
        assert (await until(events, "mode_changed")).json()["mode"] == "debug"
    assert (await watch.read()).mode.mode == DEBUG
    assert (await observability(mesh).GetMode(control_v1.GetModeRequest())).mode.set_mode == DEBUG
    assert (await mesh.http.get("/api/mode")).json() == {
        "mode": "debug",
        "set_mode": "debug",
        "expire_time": None,
        "cause": "",
    }
    request = registering("rag", "127.0.0.1:1")
    assert (await mesh.registry.Register(request)).observability_mode == "debug"
    beat = control_v1.HeartbeatRequest(instance_id=request.instance_id)
    assert (await mesh.registry.Heartbeat(beat)).observability_mode == "debug"


async def test_a_temporary_mode_reverts_before_the_eyes_of_a_watcher(mesh: Mesh) -> None:
    watch = observability(mesh).WatchMode(control_v1.WatchModeRequest())
    await watch.read()
    answer = await mesh.http.put("/api/mode", json={"mode": "debug", "duration_s": 0.2})
    assert answer.json()["expire_time"]
    assert (await watch.read()).mode.HasField("expire_time")
    assert (await watch.read()).mode == control_v1.ModeState(mode=SHIPPING, set_mode=SHIPPING)


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_crash_lays_a_debug_window_over_the_mode(mesh: Mesh, is_replaced: bool) -> None:
    request = registering("rag", "127.0.0.1:1")
    request.lease.FromMilliseconds(1)
    async with following(mesh, "/api/events") as events:
        await until(events, "ready")
        await mesh.registry.Register(request)
        if is_replaced:  # the next life of the process is there before the lease lapses
            request.instance_id = "rag-2"
            await mesh.registry.Register(request)
        changed = (await until(events, "mode_changed")).json()
    assert (changed["mode"], changed["set_mode"], changed["cause"]) == ("debug", "shipping", "crash")
    assert changed["expire_time"]


async def test_a_process_that_takes_its_leave_is_no_crash(mesh: Mesh) -> None:
    request = registering("rag", "127.0.0.1:1")
    await mesh.registry.Register(request)
    await mesh.registry.Deregister(control_v1.DeregisterRequest(instance_id=request.instance_id))
    assert (await mesh.http.get("/api/mode")).json()["mode"] == "shipping"


async def test_a_window_survives_a_restart(tmp_path: Path) -> None:
    async with mesh_in(tmp_path) as mesh:
        await mesh.control.mode.note_crash("rag-1")
        before = (await mesh.http.get("/api/mode")).json()
    async with mesh_in(tmp_path) as mesh:
        after = (await mesh.http.get("/api/mode")).json()
    assert (after["mode"], after["cause"]) == ("debug", "crash")
    assert after["expire_time"][:18] == before["expire_time"][:18]


@pytest.mark.parametrize(
    "request_",
    [
        control_v1.SetModeRequest(),
        control_v1.SetModeRequest(mode=7),  # type: ignore[arg-type]
        control_v1.SetModeRequest(mode=DEBUG, duration=Duration()),
        control_v1.SetModeRequest(mode=DEBUG, duration=Duration(seconds=-5)),
        control_v1.SetModeRequest(mode=DEBUG, duration=Duration(seconds=2**62)),
        control_v1.SetModeRequest(mode=DEBUG, actor="a" * 1_000),
    ],
)
async def test_bad_modes_are_refused_over_grpc(mesh: Mesh, request_: control_v1.SetModeRequest) -> None:
    with pytest.raises(InvalidInput), peer_errors("control"):
        await observability(mesh).SetMode(request_)
    assert (await mesh.http.get("/api/mode")).json()["mode"] == "shipping"


@pytest.mark.parametrize(
    "body", [{"mode": "loud"}, {}, {"mode": "debug", "duration_s": -1}, {"mode": "debug", "duration_s": "long"}, []]
)
async def test_bad_modes_are_refused_over_http(mesh: Mesh, body: Any) -> None:
    answer = await mesh.http.put("/api/mode", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_INPUT")
    assert (await mesh.http.get("/api/mode")).json()["mode"] == "shipping"


async def test_a_foreign_page_cannot_set_the_mode(mesh: Mesh) -> None:
    headers = {"origin": "http://evil.example"}
    assert (await mesh.http.put("/api/mode", json={"mode": "debug"}, headers=headers)).status_code == 403
