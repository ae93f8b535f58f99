"""The ids of requests over HTTP, in and out."""

import uuid
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from shared.call_context import CallContext, current_call, serving
from shared.http_correlation import Correlation, outgoing_headers

ID = "0b6a9e16-3c1e-4ed9-9df0-7a1f12a4ab0f"


async def seen(scope: Scope, receive: Receive, send: Send) -> None:
    call = current_call()
    assert call
    span = trace.get_current_span().get_span_context()
    body = {"correlation_id": call.correlation_id, "run_id": call.run_id, "trace_id": f"{span.trace_id:032x}"}
    await JSONResponse(body)(scope, receive, send)


async def ask(**headers: str) -> tuple[dict[str, Any], str]:
    transport = httpx.ASGITransport(app=Correlation(seen))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    return response.json(), response.headers["X-Correlation-ID"]


async def test_the_callers_id_is_served_under_and_answered() -> None:
    body, answered = await ask(x_correlation_id=ID.upper(), x_run_id="run-1")
    assert (body["correlation_id"], body["run_id"], answered) == (ID, "run-1", ID)
    assert current_call() is None


@pytest.mark.parametrize("bad", ["", "not-a-uuid", ID + ID, "\x00"])
async def test_a_request_without_a_good_id_gets_one(bad: str) -> None:
    body, answered = await ask(x_correlation_id=bad)
    assert body["correlation_id"] == answered == str(uuid.UUID(answered))


async def test_what_goes_out_comes_in() -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("x") as span:
        with serving(CallContext(ID, run_id="run-1")):
            headers = outgoing_headers()
    body, _ = await ask(**headers)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert body == {"correlation_id": ID, "run_id": "run-1", "trace_id": trace_id}


async def test_outside_of_calls_nothing_is_made_up() -> None:
    assert outgoing_headers() == {}
