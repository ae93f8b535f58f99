"""What the process uses of its machine: sampled every few seconds, read from memory by whoever wants to say it."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from shared.telemetry import attributes

SAMPLE_S = 2.0
LAG_TICK_S = 0.1
"""How often the event loop is asked how late it is."""


@dataclass(frozen=True)
class Resources:
    """One sample."""

    cpu: float = 0.0
    """Share of one core since the sample before; 1.0 is a whole core."""
    rss_bytes: int = 0
    threads: int = 0
    open_files: int = 0
    """File descriptors; 0 where the system does not count them."""
    event_loop_lag_s: float = 0.0
    """The longest that the event loop kept a due callback waiting since the sample before."""

    def as_attributes(self) -> dict[str, float | int]:
        """As span attributes and metrics have them."""
        return {
            attributes.PROCESS_CPU: self.cpu,
            attributes.PROCESS_RSS: self.rss_bytes,
            attributes.PROCESS_THREADS: self.threads,
            attributes.PROCESS_OPEN_FILES: self.open_files,
            attributes.EVENT_LOOP_LAG: self.event_loop_lag_s,
        }


class ResourceSampler:
    """Samples this process. `attributes` cost nothing to read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._lag_s = 0.0
        self._sample_time = -math.inf
        self.newest = Resources()
        """Zeros before the first sample."""
        self.attributes: Mapping[str, float | int] = {}
        """The newest sample as span attributes; empty before the first."""

    async def run(self) -> None:
        """Sample for ever."""
        self.sample()
        ticks = round(SAMPLE_S / LAG_TICK_S)
        while True:
            for _ in range(ticks):
                due = self._clock() + LAG_TICK_S
                await asyncio.sleep(LAG_TICK_S)
                self._lag_s = max(self._lag_s, self._clock() - due)
            self.sample()

    def latest(self) -> Resources:
        """The newest sample, or one of now where nobody runs the sampler."""
        return self.newest if self._clock() - self._sample_time < 2 * SAMPLE_S else self.sample()

    def sample(self) -> Resources:
        """Take one sample, about 0.1 ms."""
        with self._process.oneshot():
            self.newest = Resources(
                cpu=self._process.cpu_percent() / 100,
                rss_bytes=self._process.memory_info().rss,
                threads=self._process.num_threads(),
                open_files=self._process.num_fds() if hasattr(self._process, "num_fds") else 0,
                event_loop_lag_s=self._lag_s,
            )
        self._lag_s, self._sample_time = 0.0, self._clock()
        self.attributes = self.newest.as_attributes()
        return self.newest


process_resources = ResourceSampler()
"""The process's own, as the tracer provider is."""
