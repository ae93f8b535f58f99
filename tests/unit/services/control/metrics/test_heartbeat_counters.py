"""Counters from heartbeats: summed by service over all lives, each counted once."""

from services.control.metrics import heartbeat_counters
from services.control.metrics.heartbeat_counters import HeartbeatCounters


def test_a_process_that_comes_back_after_a_lapse_is_not_counted_twice() -> None:
    live = {"rag-1"}
    counters = HeartbeatCounters(lambda: live)
    counters.note("rag-1", "rag", {"drops": 5})
    live.clear()
    assert (counters.totals(), counters.present()) == ({("rag", "drops"): 5}, {})
    live.add("rag-1")
    counters.note("rag-1", "rag", {"drops": 7})
    assert counters.totals() == counters.present() == {("rag", "drops"): 7}


def test_processes_that_went_long_ago_are_forgotten_but_for_their_sum() -> None:
    live: set[str] = set()
    counters = HeartbeatCounters(lambda: live)
    count = heartbeat_counters.MAX_PROCESSES + 5
    for number in range(count):
        counters.note(f"rag-{number}", "rag", {"drops": 1})
    assert counters.totals() == {("rag", "drops"): count}
    assert len(counters._latest) <= heartbeat_counters.MAX_PROCESSES
