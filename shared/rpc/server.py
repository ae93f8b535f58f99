"""The one server factory: health, reflection, rich errors, keepalive, message limits, and a drain at the end."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import aio_server_interceptor

from shared.errors import StorageUnavailable
from shared.rpc.channel import COMMON_OPTIONS
from shared.rpc.interceptors.around import AroundInterceptor
from shared.rpc.interceptors.budget import around_budget
from shared.rpc.interceptors.correlation import around_correlation
from shared.rpc.interceptors.deadline import around_deadline
from shared.rpc.interceptors.error_mapping import around_errors

DRAIN_S = 10.0
MAX_CONCURRENT_CALLS = 1_000
SERVER_OPTIONS = (
    *COMMON_OPTIONS,
    # without it two processes would share one port and take turns
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

AddServicers = Callable[[grpc.aio.Server], None]


def _is_traced(call: grpc.HandlerCallDetails) -> bool:
    """Whether a call is a span: health checks and reflection, which come every few seconds, are none."""
    return not call.method.startswith("/grpc.")


class RpcServer:
    """A gRPC server as an async context manager; it drains when the context ends.

    `add_servicers` gets the server and adds to it; `service_names` are the full names for health and reflection;
    `interceptors` stand innermost, next to the handlers. A call is a span, unless the server `has_spans` not.
    """

    def __init__(
        self,
        host: str,
        port: int,
        add_servicers: AddServicers,
        service_names: tuple[str, ...],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        *,
        has_spans: bool = True,
    ) -> None:
        self._host = host
        self._wanted_port = port
        self._names = service_names
        self.port = 0
        """The bound port, once the server has started."""
        around = (around_correlation, around_errors, around_deadline, around_budget)
        self._server = grpc.aio.server(
            interceptors=[
                *([aio_server_interceptor(filter_=_is_traced)] if has_spans else ()),
                *(AroundInterceptor(item) for item in around),
                *interceptors,
            ],
            options=SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        add_servicers(self._server)
        names = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=descriptor_pool.Default())

    @property
    def address(self) -> str:
        """Where the server is reached, as host:port."""
        return f"{self._host}:{self.port}"

    async def __aenter__(self) -> Self:
        """Bind and serve. Raises `StorageUnavailable` when the port is taken."""
        try:
            self.port = self._server.add_insecure_port(f"{self._host}:{self._wanted_port}")
        except RuntimeError:
            raise StorageUnavailable(
                f"Port {self._wanted_port} on {self._host} is taken.",
                remedy="Stop the process that has it, or set another port.",
                port=self._wanted_port,
            ) from None
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self) -> None:
        """Say NOT_SERVING, take nothing new, and let running calls end within `DRAIN_S` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(DRAIN_S)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)
