"""How busy the instances of a service are, as their caller sees it: calls under way, and failures of late."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

AVOIDED_S = 15.0
"""How long an address that failed comes last: the control plane has found out by then."""


class PeerLoad:
    """Ranks addresses. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._own: Counter[str] = Counter()
        self._others: dict[str, int] = {}
        self._avoided_until: dict[str, float] = {}
        self._choices: dict[str, int] = {}
        self._numbers = count(1)

    def note(self, address: str, in_flight: int) -> None:
        """Take in what an instance says is under way there; what is not ours of it is somebody else's."""
        self._others[address] = max(0, in_flight - self._own[address])

    def avoid(self, address: str) -> None:
        """Let an address come last for a while: it did not answer."""
        self._avoided_until[address] = self._clock() + AVOIDED_S

    def ranked(self, addresses: Collection[str]) -> Sequence[str]:
        """Those that answered first, of them the least loaded first, of them the one chosen longest ago first."""
        return sorted(addresses, key=self._rank)

    def choose(self, addresses: Collection[str]) -> str:
        """The first of the ranked ones, for a call that is about to be made; "" of none."""
        chosen = next(iter(self.ranked(addresses)), "")
        if chosen:
            self._choices[chosen] = next(self._numbers)
        return chosen

    def _rank(self, address: str) -> tuple[bool, int, int]:
        is_avoided = self._avoided_until.get(address, 0.0) > self._clock()
        load = self._own[address] + self._others.get(address, 0)
        return is_avoided, load, self._choices.get(address, 0)

    @contextmanager
    def calling(self, address: str) -> Iterator[None]:
        """Count a call as under way while the context lasts."""
        self._own[address] += 1
        try:
            yield
        finally:
            self._own[address] -= 1

    def is_calling(self, address: str) -> bool:
        """Whether a call to the address is under way."""
        return self._own[address] > 0

    def keep_only(self, addresses: Collection[str]) -> None:
        """Forget the addresses that are no longer used and have no call under way."""
        for known in (self._own, self._others, self._avoided_until, self._choices):
            for address in [item for item in known if item not in addresses and not self._own[item]]:
                del known[address]
