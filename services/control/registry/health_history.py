"""How each process was lately: what its last heartbeats said, for a line beside its name."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from shared.pb import control_v1

MAX_SAMPLES = 120
"""Of one process: six minutes of heartbeats."""


@dataclass(frozen=True)
class HealthSample:
    """What one heartbeat said."""

    unix_s: float
    health: control_v1.Health


class HealthHistory:
    """The last samples of each process that is registered. `live` gives their ids, `now_s` the wall clock."""

    def __init__(self, live: Callable[[], Collection[str]], now_s: Callable[[], float]) -> None:
        self._live, self._now_s = live, now_s
        self._samples: dict[str, deque[HealthSample]] = {}

    def note(self, instance_id: str, health: control_v1.Health) -> None:
        """Take a heartbeat of a registered process in."""
        if instance_id not in self._samples:
            live = self._live()
            self._samples = {known: samples for known, samples in self._samples.items() if known in live}
            self._samples[instance_id] = deque(maxlen=MAX_SAMPLES)
        self._samples[instance_id].append(HealthSample(self._now_s(), health))

    def samples(self, instance_id: str, most: int) -> Sequence[HealthSample]:
        """A process's newest samples, oldest first."""
        found = self._samples.get(instance_id, ())
        return list(found)[len(found) - most :] if most < len(found) else list(found)
