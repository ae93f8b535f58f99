"""Leases, replicas, taken names, watches."""

import asyncio
from typing import Any

import pytest

from services.control.registry.registry import MAX_INSTANCES, Registration, Registry
from shared.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound
from shared.pb import capability_v1, control_v1

SERVING = control_v1.Health(state=control_v1.Health.STATE_SERVING)


def registration(instance_id: str = "rag-1", address: str = "127.0.0.1:7420", **changes: Any) -> Registration:
    descriptor = capability_v1.Descriptor(name=changes.pop("name", "rag"), tags=changes.pop("tags", ["retrieval"]))
    return Registration(instance_id, address, changes.pop("kind", "capability"), descriptor)


def ids(registry: Registry, **narrow: Any) -> list[str]:
    return [instance.instance_id for instance in registry.snapshot(**narrow).instances]


def test_a_lease_lapses_unless_heartbeats_renew_it(hand: Any) -> None:
    lapsed: list[str] = []
    registry = Registry(hand.clock, lease_s=10, on_lapse=lambda instance_id, _: lapsed.append(instance_id))
    registry.register(registration("a", "127.0.0.1:1"))
    registry.register(registration("b", "127.0.0.1:2"))
    hand.now += 8
    registry.heartbeat("a", SERVING)
    hand.now += 8
    assert ids(registry) == ["a"]
    assert lapsed == ["b"]


def test_a_heartbeat_after_the_lease_is_not_found(hand: Any) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a"))
    hand.now += 10
    with pytest.raises(NotFound, match="'a'"):
        registry.heartbeat("a", SERVING)


def test_the_registry_shortens_a_long_lease(hand: Any) -> None:
    assert Registry(hand.clock).register(registration(), lease_s=86_400) == 60


def test_a_negative_lease_is_refused(hand: Any) -> None:
    with pytest.raises(InvalidInput, match="lease"):
        Registry(hand.clock).register(registration(), lease_s=-1)


def test_the_same_descriptor_at_another_address_is_a_replica(hand: Any) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a", "127.0.0.1:1"))
    registry.register(registration("b", "127.0.0.1:2"))
    assert ids(registry) == ["a", "b"]


@pytest.mark.parametrize("changes", [{"tags": ["other"]}, {"kind": "agent"}])
def test_a_taken_name_is_refused_and_its_owner_stays(hand: Any, changes: dict[str, Any]) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a", "127.0.0.1:1"))
    with pytest.raises(AlreadyExists, match=r"'rag'.*127\.0\.0\.1:1"):
        registry.register(registration("b", "127.0.0.1:2", **changes))
    assert ids(registry) == ["a"]


def test_the_next_life_of_a_process_replaces_the_one_before(hand: Any) -> None:
    lapsed: list[str] = []
    registry = Registry(hand.clock, on_lapse=lambda instance_id, _: lapsed.append(instance_id))
    registry.register(registration("a"))
    registry.register(registration("b", tags=["changed"]))
    assert ids(registry) == ["b"]
    assert lapsed == ["a"]


def test_deregistering_takes_out_at_once_and_twice_is_no_mistake(hand: Any) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a"))
    registry.deregister("a")
    registry.deregister("a")
    assert ids(registry) == []


def test_lists_narrow_by_kind_and_by_all_tags(hand: Any) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a", "127.0.0.1:1", name="a", tags=["x", "y"]))
    registry.register(registration("b", "127.0.0.1:2", name="b", tags=["x"]))
    registry.register(registration("c", "127.0.0.1:3", name="c", tags=[], kind="agent"))
    assert ids(registry, tags=["x", "y"]) == ["a"]
    assert ids(registry, kind="agent") == ["c"]


def test_a_full_registry_says_so(hand: Any) -> None:
    registry = Registry(hand.clock)
    for number in range(MAX_INSTANCES):
        registry.register(registration(f"i{number}", f"127.0.0.1:{number + 1}", name=f"s{number}"))
    with pytest.raises(LimitExceeded):
        registry.register(registration("more", "127.0.0.1:9999", name="more"))


def health_of(registry: Registry) -> tuple[int, str]:
    health = registry.snapshot().instances[0].health
    return health.state, health.message


def test_a_process_is_serving_only_once_its_address_was_checked(hand: Any) -> None:
    registry, mine = Registry(hand.clock), registration()
    registry.register(mine)
    assert health_of(registry) == (control_v1.Health.STATE_UNSPECIFIED, "not checked yet")
    registry.note_check(mine, "")
    assert health_of(registry) == (control_v1.Health.STATE_SERVING, "")


def test_an_address_that_never_answered_is_not_serving_whatever_its_heartbeats_say(hand: Any) -> None:
    registry, mine = Registry(hand.clock), registration()
    registry.register(mine)
    registry.note_check(mine, "refused")
    registry.heartbeat("rag-1", SERVING)
    assert health_of(registry) == (control_v1.Health.STATE_NOT_SERVING, "refused")


def test_one_missed_check_is_forgiven_and_a_second_is_not(hand: Any) -> None:
    registry, mine = Registry(hand.clock), registration()
    registry.register(mine)
    registry.note_check(mine, "")
    registry.note_check(mine, "timed out")
    assert health_of(registry)[0] == control_v1.Health.STATE_SERVING
    registry.note_check(mine, "timed out")
    assert health_of(registry) == (control_v1.Health.STATE_NOT_SERVING, "timed out")


def test_a_reported_degradation_is_shown(hand: Any) -> None:
    registry, mine = Registry(hand.clock), registration()
    registry.register(mine)
    registry.note_check(mine, "")
    registry.heartbeat("rag-1", control_v1.Health(state=control_v1.Health.STATE_DEGRADED, message="no model"))
    assert health_of(registry) == (control_v1.Health.STATE_DEGRADED, "no model")


def test_heartbeats_that_change_figures_only_do_not_raise_the_version(hand: Any) -> None:
    registry, mine = Registry(hand.clock), registration()
    registry.register(mine)
    registry.note_check(mine, "")
    version = registry.snapshot().version
    registry.heartbeat("rag-1", control_v1.Health(state=control_v1.Health.STATE_SERVING, cpu=0.5))
    assert registry.snapshot().version == version
    assert registry.snapshot().instances[0].health.cpu == 0.5


async def test_a_watch_sends_the_snapshot_first_and_a_slow_reader_only_the_newest(hand: Any) -> None:
    registry = Registry(hand.clock)
    registry.register(registration("a", "127.0.0.1:1", name="a"))
    watch = aiter(registry.watch())
    assert len((await anext(watch)).instances) == 1
    for number in range(2, 6):
        registry.register(registration(f"i{number}", f"127.0.0.1:{number}", name=f"s{number}"))
    assert len((await anext(watch)).instances) == 5
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not waiting.done()
    registry.deregister("a")
    assert len((await waiting).instances) == 4


async def test_closing_ends_the_watches(hand: Any) -> None:
    registry = Registry(hand.clock)
    watch = aiter(registry.watch())
    await anext(watch)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    registry.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


def loaded(in_flight: int) -> control_v1.Health:
    return control_v1.Health(state=control_v1.Health.STATE_SERVING, in_flight=in_flight)


def test_a_load_is_news_only_where_there_is_a_choice(hand: Any) -> None:
    registry, first, second = Registry(hand.clock), registration("a", "127.0.0.1:1"), registration("b", "127.0.0.1:2")
    registry.register(first)
    registry.note_check(first, "")
    registry.heartbeat("a", loaded(0))
    alone = registry.snapshot().version
    registry.heartbeat("a", loaded(3))
    assert registry.snapshot().version == alone
    registry.register(second)
    before = registry.snapshot().version
    registry.heartbeat("a", loaded(4))
    after = registry.snapshot()
    assert after.version > before
    assert [instance.health.in_flight for instance in after.instances] == [4, 0]
    registry.heartbeat("a", loaded(4))
    assert registry.snapshot().version == after.version
