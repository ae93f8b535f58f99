"""Turns one async context manager into a server interceptor for all four kinds of handlers."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import grpc

ServicerContext = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class ServedCall:
    """The call that an interceptor stands around."""

    method: str
    """The full name, such as `/waystation.agent.v1.AgentService/StartRun`."""
    metadata: Mapping[str, str | bytes]
    servicer_context: ServicerContext
    is_stream: bool
    """Whether the response is a stream."""


Around = Callable[[ServedCall], AbstractAsyncContextManager[None]]


class AroundInterceptor(grpc.aio.ServerInterceptor):
    """Runs every handler inside `around(call)`, which sees the handler's exceptions and may abort the call."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[grpc.RpcMethodHandler[Any, Any] | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        metadata = dict(handler_call_details.invocation_metadata or ())
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behaviour = getattr(handler, kind)
        method = handler_call_details.method

        async def respond(request: Any, context: ServicerContext) -> Any:
            async with self._around(ServedCall(method, metadata, context, is_stream=False)):
                return await behaviour(request, context)

        async def respond_stream(request: Any, context: ServicerContext) -> AsyncIterator[Any]:
            async with self._around(ServedCall(method, metadata, context, is_stream=True)):
                responses = behaviour(request, context)
                if inspect.iscoroutine(responses):  # a handler that writes to the context itself
                    await responses
                    return
                try:
                    async for response in responses:
                        yield response
                finally:
                    await responses.aclose()

        make: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        wrapped: grpc.RpcMethodHandler[Any, Any] = make(
            respond_stream if handler.response_streaming else respond,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return wrapped
