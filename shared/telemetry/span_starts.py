"""Tells the control plane which spans have begun: OTLP knows only those that have ended."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import grpc
from google.protobuf.struct_pb2 import Struct
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from shared.errors import PeerProtocol, PeerUnavailable
from shared.pb import control_v1
from shared.rpc.channel import open_blocking_channel
from shared.telemetry import attributes
from shared.telemetry.redaction import is_secret_name, redactor

logger = logging.getLogger(__name__)

GATHER_S = 0.02
"""A span that is over by then is not reported: its end is on its way."""
MAX_PENDING = 4_096
MAX_REPORT = 1_000
RETRY_S = 1.0
CALL_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 1.0
UNTOLD = (attributes.SPAN_CHECKPOINT_SAVE,)
"""Spans that nobody waits for: they have no children, they are many, and are over in milliseconds."""
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


class StartReceiver(Protocol):
    """Who is told."""

    def report(self, spans: "list[control_v1.Span]") -> None:
        """Deliver a report of at most 1,000 spans. Raises `PeerUnavailable` or `PeerProtocol`."""

    def close(self) -> None:
        """Let go of what it holds."""


class SpanStarts(SpanProcessor):
    """Reports spans that are still running a moment after their start, from a thread of its own. Never blocks.

    While the receiver is away those that still run wait for it; beyond `MAX_PENDING` the oldest are forgotten.
    """

    def __init__(self, service: str, receiver: StartReceiver, gather_s: float = GATHER_S) -> None:
        self._service, self._receiver, self._gather_s = service, receiver, gather_s
        self._pending: deque[Span] = deque()
        self._has_work = threading.Event()
        self._is_stopping = threading.Event()
        self.dropped = 0
        """Starts that were never told: too many waited, or they were refused."""
        self._thread = threading.Thread(target=self._work, name="span-starts", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Remember the span."""
        if span.name in UNTOLD:
            return
        self._pending.append(span)
        if len(self._pending) > MAX_PENDING:
            self._pending.popleft()
            self.dropped += 1
        if not self._has_work.is_set():
            self._has_work.set()

    def on_end(self, span: ReadableSpan) -> None:
        """The export tells the end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing to do: what has not been told yet is told in a moment."""
        return True

    def shutdown(self) -> None:
        """Stop telling."""
        self._is_stopping.set()
        self._has_work.set()
        self._thread.join(STOP_TIMEOUT_S)
        self._receiver.close()

    def _work(self) -> None:
        while True:
            self._has_work.wait()
            if self._is_stopping.wait(self._gather_s):
                return
            self._has_work.clear()
            while running := self._take():
                if not self._report(running):
                    self._is_stopping.wait(RETRY_S)
                    self._has_work.set()
                    break

    def _take(self) -> list[Span]:
        running: list[Span] = []
        while self._pending and len(running) < MAX_REPORT:
            span = self._pending.popleft()
            if span.end_time is None:
                running.append(span)
        return running

    def _report(self, running: list[Span]) -> bool:
        try:
            self._receiver.report(starts_to_proto(running, self._service))
        except PeerUnavailable:
            self._pending.extendleft(reversed(running))
            return False
        except PeerProtocol:
            self.dropped += len(running)
        except Exception:  # whatever is wrong with these, the next ones are to be told
            logger.exception("%d span starts are not told", len(running))
            self.dropped += len(running)
        return True


class ControlPlane:
    """The control plane, told over gRPC."""

    def __init__(self, address: str, instance_id: str) -> None:
        self._instance_id = instance_id
        self._channel = open_blocking_channel(address)
        self._stub = control_v1.TelemetryServiceStub(self._channel)

    def report(self, spans: "list[control_v1.Span]") -> None:
        """See `StartReceiver.report`."""
        request = control_v1.ReportSpanStartsRequest(instance_id=self._instance_id, spans=spans)
        try:
            self._stub.ReportSpanStarts(request, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            # a blocking call's error is a call, too, and says so in no type
            code = cast(grpc.Call, error).code()
            fault = PeerUnavailable if code in _PASSING else PeerProtocol
            raise fault(f"control takes no span starts: {code.name}.", peer="control") from error

    def close(self) -> None:
        """See `StartReceiver.close`."""
        self._channel.close()


def starts_to_proto(spans: Sequence[Span], service: str) -> list[control_v1.Span]:
    """The messages for spans that run, without secrets."""
    known = redactor()
    groups = [
        values for span in spans for values in (span.attributes, *(link.attributes for link in span.links)) if values
    ]
    texts = [str(value) for values in groups for value in values.values()]
    # nearly all are clean, and one look at all of them costs as little as one at each
    is_clean = known.is_clean(texts) and not any(is_secret_name(name) for values in groups for name in values)
    return [_to_proto(span, service, dict if is_clean else known.attributes) for span in spans]


def _to_proto(span: Span, service: str, clean: Callable[[Any], dict[str, Any]]) -> control_v1.Span:
    context, parent = span.get_span_context(), span.parent
    message = control_v1.Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_span_id=f"{parent.span_id:016x}" if parent else "",
        name=span.name,
        service=service,
        kind=span.kind.name.lower(),
        attributes=_struct(clean(span.attributes or {})),
    )
    message.start_time.FromNanoseconds(span.start_time or 0)
    for link in span.links:
        message.links.add(
            trace_id=f"{link.context.trace_id:032x}",
            span_id=f"{link.context.span_id:016x}",
            attributes=_struct(clean(link.attributes or {})),
        )
    return message


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update({name: list(value) if isinstance(value, tuple) else value for name, value in values.items()})
    return struct
