"""What a handler knows of the call it serves: ids and remaining time. Nothing here knows gRPC."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from shared.errors import DeadlineExceeded, LimitExceeded

Answer = TypeVar("Answer")


class EffectKeys:
    """Names the effects of one piece of work, so that they have the same names when the work is done again."""

    def __init__(self, base: str) -> None:
        self._base = base
        """The work's own name: the same in each of its attempts, another for any other work."""
        self._counts: Counter[str] = Counter()

    def next(self, kind: str) -> str:
        """The key of the next effect of its kind: `base/kind/ordinal`."""
        self._counts[kind] += 1
        return f"{self._base}/{kind}/{self._counts[kind] - 1}"


def spent_hops() -> LimitExceeded:
    """What is refused to whoever has no hop left."""
    return LimitExceeded(
        "The hops that the caller gave are spent.",
        remedy="Answer with what there is, or ask the caller for a run with more hops.",
        limit="remaining_hops",
    )


class Budget:
    """What a served call may still cause: one counter for all that is done on its behalf. None is without bound."""

    def __init__(self, remaining_hops: int | None = None, remaining_cycles: int | None = None) -> None:
        self.remaining_hops = remaining_hops
        """Calls to capabilities that may still be made."""
        self.remaining_cycles = remaining_cycles
        """Turns that the caller's bounded loop may still begin."""

    def take_hop(self) -> None:
        """Spend one hop. Raises `LimitExceeded` when none is left."""
        if self.remaining_hops is None:
            return
        if self.remaining_hops == 0:
            raise spent_hops()
        self.remaining_hops -= 1


class Transaction(Protocol):
    """The one transaction that a served call may have in its service's own file."""

    async def commit(self, work: Callable[[Any], Answer]) -> Answer:
        """Do `work(connection)`, and record the answer it returns as the call's outcome, in one transaction.

        When an earlier attempt did it, the answer is the recorded one and `work` does not run.
        """
        ...


@dataclass(frozen=True)
class CallContext:
    """The call being served, or the piece of work that makes calls."""

    correlation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """A UUID that is the same in all that one request caused."""
    run_id: str = ""
    """The run that the work belongs to, for logs; empty outside runs."""
    deadline: float | None = None
    """On the clock of `time.monotonic`; None means that nobody set one."""
    effect_keys: EffectKeys | None = None
    """Keys for the effects of this work; None when it has no name that lasts."""
    transaction: Transaction | None = None
    """None when the service keeps no ledger."""
    budget: Budget | None = None
    """None when the caller set none."""

    def remaining_s(self) -> float | None:
        """Seconds left until the deadline, at least 0; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def timeout_s(self, at_most: float) -> float:
        """A timeout for an outgoing call: `at_most` seconds, or less when less is left.

        Raises `DeadlineExceeded` when nothing is left.
        """
        remaining = self.remaining_s()
        if remaining is None:
            return at_most
        if remaining <= 0:
            raise DeadlineExceeded("The deadline passed before the next call was made.")
        return min(at_most, remaining)


_current: ContextVar[CallContext | None] = ContextVar("call_context", default=None)


def current_call() -> CallContext | None:
    """The context of the call being served in this task, or None outside calls."""
    return _current.get()


@contextmanager
def serving(call_context: CallContext) -> Iterator[CallContext]:
    """Make `call_context` the current one, for logs and outgoing calls."""
    token = _current.set(call_context)
    try:
        yield call_context
    finally:
        # a stream whose caller is gone may be closed in another context, which never had the value
        with suppress(ValueError):
            _current.reset(token)
