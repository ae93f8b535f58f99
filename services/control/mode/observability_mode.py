"""The observability mode of the whole mesh: set by people, laid over by crashes, reverting by itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from services.control.clock import Clock
from services.control.mode.layers import MODES, Layers, Mode
from services.control.mode.mode_store import ModeStore
from services.control.signal import Signal
from shared.errors import InvalidInput, WaystationError

logger = logging.getLogger(__name__)

CRASH_WINDOW_S = 300.0
MAX_DURATION_S = 30 * 24 * 3600.0
MAX_NOTE_CHARS = 500
LONGEST_NAP_S = 3600.0


@dataclass(frozen=True)
class ModeState:
    """The mode in force, and why."""

    mode: Mode
    """The mode in force."""
    set_mode: Mode
    """What somebody set, without the window laid over it."""
    expire_unix_s: float | None
    """When the mode in force changes by itself, on the wall clock; None when it does not."""
    cause: Literal["", "crash"]
    """Why the mode in force is not the one that was set: "crash" or empty."""


class ObservabilityMode:
    """Holds the mode. `on_change` hears of each change of what holds or of how long. Belongs to one event loop."""

    def __init__(self, store: ModeStore, clock: Clock, on_change: Callable[[ModeState], None]) -> None:
        self._store, self._clock, self._on_change = store, clock, on_change
        self._layers = Layers()
        self._turn = asyncio.Lock()
        self._signal = Signal()

    @property
    def name(self) -> Mode:
        """The mode in force."""
        return self._layers.in_force_at(self._clock.monotonic())

    @property
    def state(self) -> ModeState:
        """The mode in force, and why."""
        now = self._clock.monotonic()
        mode, chosen, end = self._layers.in_force_at(now), self._layers.chosen_at(now), self._layers.change_time(now)
        expire = None if end is None else self._clock.wall() + end - now
        return ModeState(mode, chosen, expire, "crash" if mode != chosen else "")

    async def load(self) -> None:
        """Take up what was stored. The stored remainders are renewed, so that restarts cannot stretch them."""
        now, wall = self._clock.monotonic(), self._clock.wall()
        self._layers = await self._store.load(now, wall)
        await self._store.save(self._layers, now, wall)

    async def set(self, mode: str, duration_s: float | None = None, actor: str = "", reason: str = "") -> ModeState:
        """Set the mode for all processes, for a while or until somebody sets another; returns what holds now.

        Raises `InvalidInput` for an unknown mode or a duration out of range, `StorageUnavailable` when it cannot be
        stored; then nothing has changed.
        """
        known = next((each for each in MODES if each == mode), None)
        if known is None:
            raise InvalidInput(f"There is no mode {mode[:40]!r}.", remedy=f"Use {' or '.join(MODES)}.", field="mode")
        if duration_s is not None and not 0 < duration_s <= MAX_DURATION_S:
            raise InvalidInput(
                f"duration must be more than 0 and at most {MAX_DURATION_S:.0f} seconds.",
                remedy="Leave it out to set the mode until it is set again.",
                field="duration",
            )
        if len(actor) > MAX_NOTE_CHARS or len(reason) > MAX_NOTE_CHARS:
            raise InvalidInput(f"actor and reason may have {MAX_NOTE_CHARS} characters.", field="actor")
        async with self._turn:
            now = self._clock.monotonic()
            layers = self._layers.with_choice(known, None if duration_s is None else now + duration_s)
            await self._store.save(layers, now, self._clock.wall())
            self._adopt(layers)
        logger.info("mode %s set for %s by %r: %r", mode, f"{duration_s} s" if duration_s else "good", actor, reason)
        return self.state

    async def note_crash(self, instance_id: str) -> None:
        """Lay a debug window over the set mode, because a process died."""
        async with self._turn:
            now = self._clock.monotonic()
            layers = self._layers.with_window(now + CRASH_WINDOW_S)
            self._adopt(layers)
            logger.warning("%s crashed: debug mode for %d s", instance_id, CRASH_WINDOW_S)
            try:
                await self._store.save(layers, now, self._clock.wall())
            except WaystationError as error:
                logger.error("the window would not survive a restart: %s", error)

    async def watch(self) -> AsyncIterator[ModeState]:
        """Yield the state of now, then the newest after each change."""
        sent: Layers | None = None
        while not self._signal.is_closed:
            if sent == self._layers:
                await self._signal.wait()
                continue
            sent = self._layers
            yield self.state

    async def run(self) -> None:
        """Let what has ended revert, until cancelled or closed."""
        while not self._signal.is_closed:
            end = self._layers.next_end(self._clock.monotonic())
            nap_s = LONGEST_NAP_S if end is None else max(end - self._clock.monotonic(), 0.001)
            try:
                async with asyncio.timeout(min(nap_s, LONGEST_NAP_S)):
                    await self._signal.wait()
            except TimeoutError:
                self._revert()

    def close(self) -> None:
        """End all watches."""
        self._signal.close()

    def _revert(self) -> None:
        now, layers = self._clock.monotonic(), self._layers
        chosen = layers.chosen if layers.chosen and now < layers.chosen.until else None
        window = layers.window if layers.window and now < layers.window.until else None
        if (chosen, window) != (layers.chosen, layers.window):
            self._adopt(Layers(layers.base, chosen, window))
            logger.info("mode %s in force again", self.name)

    def _adopt(self, layers: Layers) -> None:
        self._layers = layers
        self._signal.fire()
        self._on_change(self.state)
