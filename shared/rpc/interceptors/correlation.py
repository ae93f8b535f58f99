"""The correlation id: taken from the caller or made, and put on the span and into every outgoing call."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry import trace

from shared.call_context import CallContext, serving
from shared.rpc.interceptors.around import ServedCall
from shared.telemetry import attributes
from shared.telemetry.resources import process_resources

CORRELATION_KEY = "x-correlation-id"
RUN_KEY = "x-run-id"
"""The run that a call is made for, so that the callee's spans and log lines name it."""
MAX_RUN_ID_CHARS = 100


@asynccontextmanager
async def around_correlation(call: ServedCall) -> AsyncIterator[None]:
    """Serve the call under its correlation id and with the deadline that gRPC gives it."""
    correlation_id = correlation_id_from(call.metadata.get(CORRELATION_KEY))
    remaining = call.servicer_context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    run_id = str(call.metadata.get(RUN_KEY, ""))[:MAX_RUN_ID_CHARS]
    ids = {attributes.CORRELATION_ID: correlation_id, **({attributes.RUN_ID: run_id} if run_id else {})}
    # the one place where a service says how it is: on its server spans, from memory
    trace.get_current_span().set_attributes({**ids, **process_resources.attributes})
    with serving(CallContext(correlation_id=correlation_id, run_id=run_id, deadline=deadline)):
        yield


def correlation_id_from(value: str | bytes | None) -> str:
    """The caller's id in its canonical form when it is a UUID, otherwise a new one."""
    try:
        return str(uuid.UUID(value if isinstance(value, str) else ""))
    except ValueError:
        return str(uuid.uuid4())
