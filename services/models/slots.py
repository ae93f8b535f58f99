"""Who may use the model next: as many at once as it has slots, the others in the order of their coming."""

from asyncio import CancelledError, Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.errors import LimitExceeded

LONG_PROMPT_CHARACTERS = 2000
"""From this many unread characters on (some 500 tokens, several seconds on two cores) a prompt counts as long."""


@dataclass
class Slot:
    """One sequence of llama.cpp."""

    number: int
    prompt: str = ""
    """The last prompt; its beginning need not be read again."""
    unread: int = 0
    """Characters still to be read while a prompt is being read, else 0."""

    def unread_of(self, prompt: str) -> int:
        """How many characters of `prompt` this slot would have to read."""
        common = 0
        for ours, theirs in zip(self.prompt, prompt, strict=False):
            if ours != theirs:
                break
            common += 1
        return len(prompt) - common


class SlotPool:
    """The slots of one model, and the queue before them. For one event loop."""

    def __init__(self, count: int, max_waiting: int) -> None:
        self._free = [Slot(number) for number in range(count)]
        self._busy: list[Slot] = []
        self._waiting: deque[tuple[str, Future[Slot]]] = deque()
        self._max_waiting = max_waiting

    @asynccontextmanager
    async def hold(self, prompt: str) -> AsyncIterator[Slot]:
        """Wait for a slot and keep it while the context lasts. Raises LimitExceeded when too many wait already."""
        slot = await self._take(prompt)
        try:
            yield slot
        finally:
            slot.unread = 0
            self._give_back(slot)

    async def _take(self, prompt: str) -> Slot:
        if self._free and not self._waiting:
            return self._choose(prompt)
        if len(self._waiting) >= self._max_waiting:
            raise LimitExceeded(
                f"{len(self._waiting)} requests wait for this model already.",
                remedy="Try again later, or raise WAYSTATION_MODELS_MAX_WAITING.",
                limit=self._max_waiting,
            )
        turn: Future[Slot] = get_running_loop().create_future()
        entry = (prompt, turn)
        self._waiting.append(entry)
        try:
            return await turn
        except CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came in the moment of leaving
                self._give_back(turn.result())
            elif entry in self._waiting:
                self._waiting.remove(entry)
            raise

    def _give_back(self, slot: Slot) -> None:
        self._busy.remove(slot)
        self._free.append(slot)
        while self._free and self._waiting:
            prompt, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._choose(prompt))

    def _choose(self, prompt: str) -> Slot:
        """The free slot that knows half of the prompt, else the one with the right number.

        llama.cpp fills each batch from slot 0 upwards, so that a long prompt holds up the prompts in the slots above
        it. Long ones therefore go to the highest slot, short ones to the lowest, and neither, if it can be helped,
        to one above a longer prompt that is being read.
        """
        free = sorted(self._free, key=lambda slot: slot.number)
        unheld = [slot for slot in free if not self._is_held_up(slot, slot.unread_of(prompt))] or free
        best = min(unheld, key=lambda slot: slot.unread_of(prompt))
        if best.unread_of(prompt) > len(prompt) // 2:
            best = unheld[-1] if len(prompt) >= LONG_PROMPT_CHARACTERS else unheld[0]
        best.unread = best.unread_of(prompt)
        best.prompt = prompt
        self._free.remove(best)
        self._busy.append(best)
        return best

    def _is_held_up(self, slot: Slot, unread: int) -> bool:
        return any(other.number < slot.number and other.unread > unread for other in self._busy)
