"""What waits to be passed on: bounded in bytes, the oldest dropped first and counted."""

import asyncio
from collections import deque
from dataclasses import dataclass

MAX_QUEUED_BYTES = 16 * 1024 * 1024
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Collectors commonly refuse messages of more than 4 MiB."""


@dataclass(frozen=True)
class Parcel:
    """OTLP requests of one signal, serialized; protobuf lets them be joined end to end."""

    data: bytes
    count: int
    """Spans, points or records in it."""


class ForwardQueue:
    """Parcels in the order of their coming."""

    def __init__(self, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parcels: deque[Parcel] = deque()
        self._bytes = 0
        self._has_some = asyncio.Event()
        self.queued = 0
        """Items that wait."""
        self.dropped = 0
        """Items that nobody will get."""

    def put(self, parcel: Parcel) -> None:
        """Add what has just come; never waits."""
        self._parcels.append(parcel)
        self._count(parcel, 1)
        self._trim()

    async def take(self) -> Parcel:
        """The oldest parcels, joined; waits until there is one."""
        await self._has_some.wait()
        chosen: list[Parcel] = []
        size = 0
        while self._parcels and (not chosen or size + len(self._parcels[0].data) <= MAX_BATCH_BYTES):
            parcel = self._parcels.popleft()
            self._count(parcel, -1)
            chosen.append(parcel)
            size += len(parcel.data)
        return Parcel(b"".join(each.data for each in chosen), sum(each.count for each in chosen))

    def put_back(self, parcel: Parcel) -> None:
        """Give back what could not be delivered: it is the oldest, and the first to be dropped."""
        self._parcels.appendleft(parcel)
        self._count(parcel, 1)
        self._trim()

    def _trim(self) -> None:
        while self._bytes > self._max_bytes:
            gone = self._parcels.popleft()
            self._count(gone, -1)
            self.dropped += gone.count

    def _count(self, parcel: Parcel, sign: int) -> None:
        self._bytes += sign * len(parcel.data)
        self.queued += sign * parcel.count
        if self._parcels:
            self._has_some.set()
        else:
            self._has_some.clear()
