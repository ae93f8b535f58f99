"""What processes count, as their heartbeats tell it in both modes."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from shared.errors import InvalidInput

MAX_COUNTERS = 256
"""Of one process."""
MAX_PROCESSES = 2_000
"""Twice as many as the registry holds."""
_NAME = re.compile(r"[a-z0-9_.]{1,80}")


def check_counters(counters: Mapping[str, float]) -> None:
    """Raise `InvalidInput` when there are too many, a name is odd, or a value is no number."""
    if len(counters) > MAX_COUNTERS:
        raise InvalidInput(f"counters must be at most {MAX_COUNTERS}.", field="counters", limit=MAX_COUNTERS)
    for name, value in counters.items():
        if not _NAME.fullmatch(name) or not math.isfinite(value):
            raise InvalidInput(f"The counter {name[:80]!r} has no plain name and finite value.", field="counters")


class HeartbeatCounters:
    """The latest counters of each process, of those that are gone too, so that sums by service only grow.

    `live` gives the registered instances.
    """

    def __init__(self, live: Callable[[], Collection[str]]) -> None:
        self._live = live
        self._latest: dict[str, tuple[str, dict[str, float]]] = {}
        self._forgotten: dict[tuple[str, str], float] = defaultdict(float)
        """The sums over processes that went long ago."""

    def note(self, instance_id: str, service: str, counters: Mapping[str, float]) -> None:
        """Take a heartbeat's counters in."""
        if instance_id not in self._latest and len(self._latest) >= MAX_PROCESSES:
            self._forget()
        self._latest[instance_id] = (service, dict(counters))

    def of(self, instance_id: str) -> Mapping[str, float]:
        """The latest counters of one process."""
        _, counters = self._latest.get(instance_id, ("", {}))
        return counters

    def totals(self) -> dict[tuple[str, str], float]:
        """By service and name: the sum over all processes that this control plane has heard of."""
        return _summed(self._latest.values(), self._forgotten)

    def present(self) -> dict[tuple[str, str], float]:
        """By service and name: the sum over the processes that are there now."""
        live = set(self._live())
        return _summed((entry for instance_id, entry in self._latest.items() if instance_id in live), {})

    def _forget(self) -> None:
        # one whose lease only lapsed may come back and count on, so none is forgotten before there are too many
        live = set(self._live())
        gone = {instance_id: entry for instance_id, entry in self._latest.items() if instance_id not in live}
        self._forgotten = _summed(gone.values(), self._forgotten)
        self._latest = {instance_id: entry for instance_id, entry in self._latest.items() if instance_id in live}


def _summed(
    entries: Iterable[tuple[str, Mapping[str, float]]], start: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    found = defaultdict(float, start)
    for service, counters in entries:
        for name, value in counters.items():
            found[service, name] += value
    return found
