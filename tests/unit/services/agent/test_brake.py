"""A request to stop can be taken back until the graph has heard of it."""

from services.agent.brake import Brake


def test_a_stop_can_be_withdrawn_by_its_reason_only() -> None:
    brake = Brake()
    brake.request_drain("pause")
    assert not brake.withdraw("shutdown")
    assert brake.withdraw("pause")
    assert not brake.drain_requested


def test_a_stop_that_the_graph_has_heard_of_cannot_be_withdrawn() -> None:
    brake = Brake()
    assert not brake.drain_requested
    brake.request_drain("pause")
    assert brake.drain_requested
    assert not brake.withdraw("pause")
    assert brake.drain_reason == "pause"
