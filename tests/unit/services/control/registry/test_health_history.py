"""A bounded memory of heartbeats, of those processes that are there."""

from services.control.registry.health_history import MAX_SAMPLES, HealthHistory
from shared.pb import control_v1


def health(cpu: float) -> control_v1.Health:
    return control_v1.Health(cpu=cpu)


def test_the_newest_samples_are_kept_oldest_first() -> None:
    now = iter(range(1_000))
    history = HealthHistory(lambda: ["a"], lambda: float(next(now)))
    for number in range(MAX_SAMPLES + 5):
        history.note("a", health(number))
    kept = history.samples("a", MAX_SAMPLES)
    assert [each.health.cpu for each in kept] == list(range(5, MAX_SAMPLES + 5))
    assert [each.unix_s for each in history.samples("a", 2)] == [MAX_SAMPLES + 3, MAX_SAMPLES + 4]
    assert (history.samples("a", 0), history.samples("b", 5)) == ([], [])


def test_processes_that_went_are_forgotten_when_another_comes() -> None:
    live = ["a"]
    history = HealthHistory(lambda: live, lambda: 0.0)
    history.note("a", health(1))
    live[:] = ["b"]
    history.note("b", health(2))
    assert (len(history.samples("a", 9)), len(history.samples("b", 9))) == (0, 1)
