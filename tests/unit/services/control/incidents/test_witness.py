"""What counts as an incident, and what does not."""

from services.control.incidents.witness import Witness
from services.control.registry.registry import Snapshot
from shared.pb import agent_v1, capability_v1, control_v1


def snapshot(**names: str) -> Snapshot:
    instances = [
        control_v1.ServiceInstance(instance_id=instance_id, descriptor=capability_v1.Descriptor(name=name))
        for instance_id, name in names.items()
    ]
    return Snapshot(tuple(instances), 1)


def test_a_service_that_went_without_leave_is_missed_until_it_is_back() -> None:
    now = [100.0]
    witness = Witness(lambda: now[0])
    assert witness.registered(snapshot(a1="agent", r1="rag")) == []
    lost = witness.lapse("a1", 10.0)
    assert (lost.kind, lost.service, lost.instance_id, lost.gap_ms) == ("process_lost", "agent", "a1", 10_000)
    assert witness.registered(snapshot(r1="rag")) == []
    now[0] = 105.0
    (back,) = witness.registered(snapshot(a2="agent", r1="rag"))
    assert (back.kind, back.service, back.instance_id, back.gap_ms) == ("process_back", "agent", "a2", 15_000)
    assert witness.registered(snapshot(a2="agent", a3="agent")) == []


def test_a_service_that_took_its_leave_is_not_missed() -> None:
    witness = Witness(lambda: 1.0)
    for seen in (snapshot(r1="rag"), snapshot(), snapshot(r2="rag")):
        assert witness.registered(seen) == []


def test_a_process_that_was_never_seen_in_a_snapshot_is_lost_under_its_id() -> None:
    lost = Witness(lambda: 1.0).lapse("x1", 0.5)
    assert (lost.service, lost.message) == ("", "x1 went without leave.")


def test_two_losses_of_one_process_are_two_incidents() -> None:
    now = [1.0]
    witness = Witness(lambda: now[0])
    first = witness.lapse("x1", 0.5)
    now[0] = 2.0
    assert first.key != witness.lapse("x1", 0.5).key


def test_runs_that_lost_their_agent_and_were_taken_up_after_a_crash_are_incidents() -> None:
    witness = Witness(lambda: 1.0)
    lost = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_LOST, epoch=2)
    resumed = agent_v1.RunEvent(run_id="r1", run_resumed=agent_v1.RunResumed(epoch=3, cause="crash"))
    assert [each.kind for each in witness.changed([lost, resumed])] == ["run_lost", "run_resumed"]
    assert witness.changed([lost])[0].key == witness.changed([lost])[0].key


def test_what_people_do_with_runs_is_no_incident() -> None:
    witness = Witness(lambda: 1.0)
    paused = agent_v1.Run(run_id="r1", state=agent_v1.Run.STATE_PAUSED)
    events = [
        agent_v1.RunEvent(run_id="r1", run_resumed=agent_v1.RunResumed(cause=cause))
        for cause in ("pause", "answer", "request")
    ]
    assert witness.changed([paused, *events, agent_v1.RunEvent(), object()]) == []
