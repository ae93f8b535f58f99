"""Which replica is next: who answered, who is least loaded, whose turn it is."""

from dataclasses import dataclass

from services.agent.peer_load import AVOIDED_S, PeerLoad


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_equals_take_turns() -> None:
    load = PeerLoad()
    assert [load.choose({"a", "b", "c"}) for _ in range(6)].count("a") == 2
    assert len({load.choose({"a", "b", "c"}) for _ in range(3)}) == 3


def test_the_least_loaded_is_first() -> None:
    load = PeerLoad()
    with load.calling("a"), load.calling("a"), load.calling("b"):
        assert load.ranked(["a", "b", "c"]) == ["c", "b", "a"]
    assert not load.is_calling("a")


def test_the_load_that_others_bring_counts_and_ours_counts_once() -> None:
    load = PeerLoad()
    with load.calling("a"):
        load.note("a", 1)  # that one is ours
        load.note("b", 1)
        with load.calling("c"), load.calling("c"):
            assert load.ranked(["c", "b", "a"])[-1] == "c"
    assert load.ranked(["b", "a"]) == ["a", "b"]


def test_who_failed_comes_last_for_a_while() -> None:
    clock = Clock()
    load = PeerLoad(clock)
    load.avoid("a")
    with load.calling("b"):
        assert load.ranked(["a", "b"]) == ["b", "a"]
        clock.now += AVOIDED_S
        assert load.ranked(["a", "b"]) == ["a", "b"]


def test_what_is_gone_is_forgotten_once_its_calls_have_ended() -> None:
    load = PeerLoad()
    with load.calling("a"):
        load.keep_only({"b"})
        assert load.is_calling("a")
    load.avoid("a")
    load.keep_only({"b"})
    assert load.ranked(["a", "b"]) == ["a", "b"]


def test_of_none_there_is_none() -> None:
    assert PeerLoad().choose(set()) == ""
