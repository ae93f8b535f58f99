"""What decides the observability mode: a base, what somebody set for a while, and the window after a crash."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

Mode = Literal["shipping", "debug"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Timed:
    """A mode that ends by itself."""

    mode: Mode
    until: float
    """On the monotonic clock, so that a wall clock which is moved neither freezes nor ends it."""


@dataclass(frozen=True)
class Layers:
    """The layers, lowest first. Times are seconds of the monotonic clock."""

    base: Mode = "shipping"
    chosen: Timed | None = None
    """What somebody set for a while."""
    window: Timed | None = None
    """What a crash laid over it; always debug."""

    def chosen_at(self, now: float) -> Mode:
        """The mode that somebody set, without the window."""
        return self.chosen.mode if self.chosen and now < self.chosen.until else self.base

    def in_force_at(self, now: float) -> Mode:
        """The mode that holds."""
        return self.window.mode if self.window and now < self.window.until else self.chosen_at(now)

    def next_end(self, now: float) -> float | None:
        """When the next layer that is there now ends, whether or not that changes the mode in force."""
        ends = [timed.until for timed in (self.chosen, self.window) if timed and now < timed.until]
        return min(ends, default=None)

    def change_time(self, now: float) -> float | None:
        """When the mode in force changes by itself; None when it does not."""
        ends = sorted(timed.until for timed in (self.chosen, self.window) if timed and now < timed.until)
        return next((end for end in ends if self.in_force_at(end) != self.in_force_at(now)), None)

    def with_choice(self, mode: Mode, until: float | None) -> "Layers":
        """What somebody's choice makes of them. Whoever says shipping means it: that ends a window too."""
        window = None if mode == "shipping" else self.window
        if until is None:
            return Layers(mode, None, window)
        return Layers(self.base, Timed(mode, until), window)

    def with_window(self, until: float) -> "Layers":
        """What a crash makes of them: a window, which a later crash extends and nothing shortens."""
        longest = max(until, self.window.until) if self.window else until
        return replace(self, window=Timed("debug", longest))
