"""The two clocks of the control plane: one that never jumps, for leases, and one that people read."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Where the time comes from; tests give their own."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds that only grow."""
    wall: Callable[[], float] = time.time
    """Seconds since 1970."""
