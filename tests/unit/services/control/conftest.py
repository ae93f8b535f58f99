"""What the control plane's tests share: a clock that is moved by hand, and spans."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.control.clock import Clock
from services.control.telemetry.span import SpanRecord


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    now: float = 1_000.0

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, wall=lambda: self.now + 1_700_000_000)


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


def span_record(span: str, *, end_ns: int | None = 200, **changes: object) -> SpanRecord:
    """A span whose ids come from its name."""
    digest = hashlib.sha256(span.encode()).hexdigest()
    record = SpanRecord(
        trace_id="a" * 32,
        span_id=digest[:16],
        parent_span_id="",
        name=span,
        service="agent",
        kind="internal",
        start_ns=100,
        end_ns=end_ns,
        state="running" if end_ns is None else "ok",
        status_message="",
        run_id=None,
        thread_id=None,
        correlation_id=None,
        instance_id="agent-1",
        body=b'{"attributes":{},"events":[],"links":[]}',
    )
    return record._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def make_span() -> Callable[..., SpanRecord]:
    return span_record
