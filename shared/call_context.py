"""What a handler knows of the call it serves: ids and remaining time. Nothing here knows gRPC."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.errors import DeadlineExceeded


@dataclass(frozen=True)
class CallContext:
    """The call being served, or the piece of work that makes calls."""

    correlation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """A UUID that is the same in all that one request caused."""
    deadline: float | None = None
    """On the clock of `time.monotonic`; None means that nobody set one."""

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
        _current.reset(token)
