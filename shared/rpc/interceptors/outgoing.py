"""What every outgoing call carries: the trace, the correlation id, a deadline and what is left of the budget.

OpenTelemetry's own interceptors make a client span of the call and carry that; without them it is the current span.
"""

from collections.abc import Sequence
from typing import Any

import grpc
from grpc.aio import ClientCallDetails
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.call_context import current_call
from shared.rpc.interceptors.budget import HOPS_KEY, outgoing_budget
from shared.rpc.interceptors.correlation import CORRELATION_KEY, RUN_KEY
from shared.rpc.interceptors.deadline import outgoing_timeout

TRACE_KEY = "traceparent"
_propagator = TraceContextTextMapPropagator()


def _completed(details: ClientCallDetails) -> ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    if metadata.get(TRACE_KEY) is None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        for name, value in carrier.items():
            metadata.add(name, value)
    call_context = current_call()
    if call_context and metadata.get(CORRELATION_KEY) is None:
        metadata.add(CORRELATION_KEY, call_context.correlation_id)
        if call_context.run_id:
            metadata.add(RUN_KEY, call_context.run_id)
    method: Any = details.method
    called = method.decode() if isinstance(method, bytes) else method  # typed as text, it is bytes
    for name, value in outgoing_budget(called, metadata.get(HOPS_KEY)).items():
        metadata[name] = value
    return ClientCallDetails(
        details.method, outgoing_timeout(details.timeout), metadata, details.credentials, details.wait_for_ready
    )


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_completed(client_call_details), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_completed(client_call_details), request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(_completed(client_call_details), request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(_completed(client_call_details), request_iterator)


def outgoing_interceptors() -> Sequence[grpc.aio.ClientInterceptor]:
    """One interceptor for each kind of call: grpc.aio files an object under a single kind."""
    return (_UnaryUnary(), _UnaryStream(), _StreamUnary(), _StreamStream())
