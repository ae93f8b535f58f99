"""What is remembered of the newest checkpoints, so that a step need not write, or read, again what they refer to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.agent.checkpoint.encoding import Slices

MAX_BYTES = 64_000_000
MAX_HEADS = 1_024


@dataclass(frozen=True)
class Head:
    """A checkpoint that was the head of its thread. While it is, its chunks are in the file: nothing deletes them."""

    checkpoint_id: str
    digests: frozenset[bytes] = frozenset()
    """Of the chunks that it refers to."""
    slices: Mapping[str, Slices] = field(default_factory=dict)
    """By channel."""

    @property
    def size(self) -> int:
        return sum(len(slices.body) for slices in self.slices.values())


NO_HEAD = Head("")


class Heads:
    """The heads written or read last, as many as fit."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str], Head] = {}
        self._size = 0

    def get(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None) -> Head:
        """What is known of this checkpoint, if it was the head; `NO_HEAD` otherwise."""
        head = self._heads.get((thread_id, checkpoint_ns), NO_HEAD)
        return head if head.checkpoint_id == checkpoint_id else NO_HEAD

    def remember(self, thread_id: str, checkpoint_ns: str, head: Head) -> None:
        """Remember a head in the place of the one before; the ones remembered longest go first."""
        key = (thread_id, checkpoint_ns)
        self._forget(key)
        if head.digests and head.size <= MAX_BYTES:
            self._heads[key] = head
            self._size += head.size
        while self._size > MAX_BYTES or len(self._heads) > MAX_HEADS:
            self._forget(next(iter(self._heads)))

    def _forget(self, key: tuple[str, str]) -> None:
        if head := self._heads.pop(key, None):
            self._size -= head.size
