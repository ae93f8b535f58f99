"""What the Services and System pages need: how processes were lately, incidents, stores and queues."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.control.clock import Clock
from shared.pb import agent_v1, control_v1
from tests.fakes.control_mesh import SCRIPT, Mesh, following, mesh_in, registering, reporting, started, until


class SteppedTime:
    """A monotonic clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with mesh_in(tmp_path) as mesh:
        yield mesh


def heartbeat(instance_id: str, cpu: float = 0.5, **counters: float) -> control_v1.HeartbeatRequest:
    health = control_v1.Health(state=control_v1.Health.STATE_SERVING, cpu=cpu, rss_bytes=2**33, threads=7, in_flight=2)
    health.event_loop_lag.FromMicroseconds(1_500)
    named = {name.replace("__", "."): value for name, value in counters.items()}
    return control_v1.HeartbeatRequest(instance_id=instance_id, health=health, counters=named)


async def test_a_service_shows_how_it_was_lately(mesh: Mesh) -> None:
    request = registering("rag", "127.0.0.1:1", tags=["docs"], roles=["retriever"], version="1.2")
    await mesh.registry.Register(request)
    for cpu in (0.25, float("nan"), 0.75):
        await mesh.registry.Heartbeat(heartbeat(request.instance_id, cpu))
    (service,) = (await mesh.http.get("/api/services", params={"samples": 2})).json()["services"]
    assert (service["tags"], service["roles"], service["version"]) == (["docs"], ["retriever"], "1.2")
    assert service["lease_expire_time"] > service["heartbeat_time"]
    assert [each["health"]["cpu"] for each in service["history"]] == [None, 0.75]
    newest = service["history"][1]["health"]
    assert (newest["rss_bytes"], newest["threads"], newest["in_flight"]) == (2**33, 7, 2)
    assert (newest["event_loop_lag_ms"], newest["state"]) == (1.5, "serving")
    (plain,) = (await mesh.http.get("/api/services")).json()["services"]
    assert plain["history"] == []
    assert (await mesh.http.get("/api/services", params={"samples": 121})).status_code == 400


async def test_a_crash_and_the_way_back_are_incidents_listed_and_told(tmp_path: Path) -> None:
    time = SteppedTime()
    async with mesh_in(tmp_path, clock=Clock(time), lease_s=1) as mesh, following(mesh, "/api/events") as events:
        await until(events, "ready")
        request = registering("agent", "127.0.0.1:1", kind="agent")
        await mesh.registry.Register(request)
        await until(events, "registry_changed")
        report = control_v1.ReportSpanStartsRequest(instance_id=request.instance_id, spans=[started()])
        await mesh.telemetry.ReportSpanStarts(report)
        run = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_RUNNING, last_sequence=1, query=SCRIPT, epoch=1)
        await mesh.telemetry.ReportRunEvents(reporting(run, instance_id=request.instance_id))
        time.now += 60
        lost = [(await until(events, "incident")).json() for _ in range(2)]
        assert {each["kind"] for each in lost} == {"process_lost", "run_lost"}
        again = registering("agent", "127.0.0.1:2", kind="agent")
        await mesh.registry.Register(again)
        back = (await until(events, "incident")).json()
        assert (back["kind"], back["service"], back["instance_id"]) == ("process_back", "agent", again.instance_id)
        assert back["gap_ms"] > 0
        resumed = agent_v1.RunEvent(
            run_id="r1", sequence=2, run_resumed=agent_v1.RunResumed(epoch=2, attempt=1, cause="crash")
        )
        run.last_sequence, run.epoch = 2, 2
        for _ in range(2):
            await mesh.telemetry.ReportRunEvents(reporting(run, instance_id=again.instance_id, events=[resumed]))
        assert (await until(events, "incident")).json()["kind"] == "run_resumed"
        listed = (await mesh.http.get("/api/incidents")).json()
        kinds = [each["kind"] for each in listed["incidents"]]
        assert kinds[:2] == ["run_resumed", "process_back"]
        assert sorted(kinds[2:]) == ["process_lost", "run_lost"]
        of_run = (await mesh.http.get("/api/incidents", params={"run_id": "r1"})).json()["incidents"]
        assert [each["kind"] for each in of_run] == ["run_resumed", "run_lost"]
        assert (await mesh.http.get("/api/health")).json()["lost_span_count"] == 1
    async with mesh_in(tmp_path) as mesh:
        assert [each["kind"] for each in (await mesh.http.get("/api/incidents")).json()["incidents"]] == kinds


async def test_stores_are_known_with_their_backups_and_failed_writes(mesh: Mesh) -> None:
    request = registering("agent", "127.0.0.1:1", kind="agent")
    await mesh.registry.Register(request)
    counters = {"storage__used_bytes": 4096.0, "storage__free_bytes": 0.0, "storage__write_errors": 2.0}
    await mesh.registry.Heartbeat(heartbeat(request.instance_id, **counters))
    own, agent = (await mesh.http.get("/api/storage")).json()["stores"]
    assert (own["service"], own["write_errors"], own["backup_count"]) == ("control", 0, None)
    assert own["used_bytes"] > 0
    assert (agent["service"], agent["used_bytes"], agent["free_bytes"], agent["write_errors"]) == ("agent", 4096, 0, 2)
    assert (agent["backup_count"], agent["newest_backup_time"], agent["newest_backup_bytes"]) == (None, None, None)
    made = {"backup__count": 3.0, "backup__newest_unix_s": 1_800_000_000.0, "backup__newest_bytes": 99.0}
    await mesh.registry.Heartbeat(heartbeat(request.instance_id, **counters, **made))
    agent = (await mesh.http.get("/api/storage")).json()["stores"][1]
    assert (agent["backup_count"], agent["newest_backup_bytes"]) == (3, 99)
    assert agent["newest_backup_time"] == "2027-01-15T08:00:00Z"


async def test_queues_are_known_with_what_they_dropped(tmp_path: Path) -> None:
    async with mesh_in(tmp_path, forward_endpoint="127.0.0.1:1") as mesh:
        request = registering("agent", "127.0.0.1:1", kind="agent")
        await mesh.registry.Register(request)
        await mesh.registry.Heartbeat(heartbeat(request.instance_id, outbox__waiting_runs=4, spans__dropped=9))
        queues = (await mesh.http.get("/api/queues")).json()["queues"]
    found = {(each["service"], each["name"]): (each["waiting"], each["dropped"]) for each in queues}
    assert found == {
        ("control", "spans"): (0, None),
        ("control", "logs"): (0, None),
        **{("control", f"forwarded_{signal}"): (0, 0) for signal in ("spans", "metrics", "logs")},
        ("agent", "outbox"): (4, None),
        ("agent", "spans"): (None, 9),
    }


@pytest.mark.parametrize("path", ["/api/incidents?page_token=x", "/api/incidents?page_size=501"])
async def test_bad_pages_are_refused(mesh: Mesh, path: str) -> None:
    answer = await mesh.http.get(path)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_INPUT")
