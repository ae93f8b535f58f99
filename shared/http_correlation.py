"""The ids of a request over HTTP: taken from its headers or made at the door, answered, and passed on."""

from opentelemetry import context
from opentelemetry.propagate import extract, inject
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.call_context import CallContext, current_call, serving
from shared.rpc.interceptors.correlation import CORRELATION_KEY, MAX_RUN_ID_CHARS, RUN_KEY, correlation_id_from


def outgoing_headers() -> dict[str, str]:
    """What every outgoing HTTP request of ours carries: the trace, and the ids of the request and the run."""
    headers: dict[str, str] = {}
    inject(headers)
    if call_context := current_call():
        headers[CORRELATION_KEY] = call_context.correlation_id
        if call_context.run_id:
            headers[RUN_KEY] = call_context.run_id
    return headers


class Correlation:
    """ASGI middleware: serves each request under its correlation id, its run and its caller's trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the answer has the correlation id in `X-Correlation-ID`."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        correlation_id = correlation_id_from(headers.get(CORRELATION_KEY))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[CORRELATION_KEY] = correlation_id
            await send(message)

        token = context.attach(extract(headers))
        try:
            with serving(CallContext(correlation_id, run_id=headers.get(RUN_KEY, "")[:MAX_RUN_ID_CHARS])):
                await self._app(scope, receive, answer)
        finally:
            context.detach(token)
