"""Every registration is asked, and the answer is noted."""

from typing import Any

from services.control.registry.health_check import HealthCheck
from services.control.registry.registry import Registration, Registry
from shared.pb import capability_v1, control_v1


async def test_each_address_is_asked_with_its_kind_and_the_answer_noted(hand: Any) -> None:
    asked: list[tuple[str, str, float]] = []

    async def probe(registration: Registration, timeout_s: float) -> str:
        asked.append((registration.kind, registration.address, timeout_s))
        return "refused" if registration.address.endswith(":2") else ""

    registry = Registry(hand.clock)
    for name, kind in (("a", "capability"), ("b", "models")):
        address = f"127.0.0.1:{len(registry.registrations()) + 1}"
        registry.register(Registration(name, address, kind, capability_v1.Descriptor(name=name)))
    await HealthCheck(registry, probe, timeout_s=0.5).check_all()
    assert asked == [("capability", "127.0.0.1:1", 0.5), ("models", "127.0.0.1:2", 0.5)]
    states = [instance.health.state for instance in registry.snapshot().instances]
    assert states == [control_v1.Health.STATE_SERVING, control_v1.Health.STATE_NOT_SERVING]


async def test_an_answer_for_an_address_that_was_left_is_not_noted(hand: Any) -> None:
    registry = Registry(hand.clock)
    descriptor = capability_v1.Descriptor(name="a")
    old = Registration("a", "127.0.0.1:1", "capability", descriptor)
    registry.register(old)
    registry.register(Registration("a", "127.0.0.1:2", "capability", descriptor))
    registry.note_check(old, "")
    assert registry.snapshot().instances[0].health.state == control_v1.Health.STATE_UNSPECIFIED
