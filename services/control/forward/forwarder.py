"""Passes what is received over OTLP on to another collector, in batches, and never in the receiver's way."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from services.control.forward.queue import ForwardQueue, Parcel
from shared.rpc.channel import CHANNEL_OPTIONS, open_channel

logger = logging.getLogger(__name__)

CALL_TIMEOUT_S = 10.0
GATHER_S = 0.1
"""What comes within this time of a delivery goes into the next one together."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
STOP_TIMEOUT_S = 2.0

_RETRYABLE = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""By the OTLP specification; whatever else a collector answers, the same batch would get again."""
_SIGNALS: Mapping[str, tuple[str, Any, Callable[[Any], int]]] = {
    "spans": (
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        trace_service_pb2.ExportTraceServiceResponse,
        lambda response: response.partial_success.rejected_spans,
    ),
    "metrics": (
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        metrics_service_pb2.ExportMetricsServiceResponse,
        lambda response: response.partial_success.rejected_data_points,
    ),
    "logs": (
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        logs_service_pb2.ExportLogsServiceResponse,
        lambda response: response.partial_success.rejected_log_records,
    ),
}


class Forwarder:
    """Passes on to `endpoint`: host:port, or https://host:port for TLS. An empty one passes nothing on."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self.queues = {signal: ForwardQueue() for signal in _SIGNALS} if endpoint else {}
        self.delivered = dict.fromkeys(_SIGNALS, 0)
        """Items that the collector took, by signal."""
        self._is_known_down = False

    def offer(self, signal: str, request: Message, count: int) -> None:
        """Queue a request of `count` items; `signal` is "spans", "metrics" or "logs"."""
        if self.queues and count:
            self.queues[signal].put(Parcel(request.SerializeToString(), count))

    async def run(self) -> None:
        """Pass on until cancelled; then what is queued gets two seconds more."""
        if not self._endpoint:
            return
        async with _open(self._endpoint) as channel:
            try:
                await asyncio.gather(*(self._pass_on(signal, channel) for signal in _SIGNALS))
            finally:
                with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError):
                    async with asyncio.timeout(STOP_TIMEOUT_S):
                        await self._empty(channel)

    async def _pass_on(self, signal: str, channel: grpc.aio.Channel) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            parcel = await self.queues[signal].take()
            try:
                await self._deliver(signal, channel, parcel)
                retry_s, wait_s = FIRST_RETRY_S, GATHER_S
            except asyncio.CancelledError:
                self.queues[signal].put_back(parcel)
                raise
            except grpc.aio.AioRpcError as error:
                wait_s, retry_s = self._note_failure(signal, parcel, error, retry_s)
            await asyncio.sleep(wait_s)

    def _note_failure(
        self, signal: str, parcel: Parcel, error: grpc.aio.AioRpcError, retry_s: float
    ) -> tuple[float, float]:
        """Put the parcel back or give it up; return how long to wait, and how long the next time."""
        if error.code() not in _RETRYABLE:
            logger.error("%s refuses %d %s: %s", self._endpoint, parcel.count, signal, error.details())
            self.queues[signal].dropped += parcel.count
            return GATHER_S, FIRST_RETRY_S
        if not self._is_known_down:
            logger.warning("nothing is passed on to %s for now: %s", self._endpoint, error.details())
        self._is_known_down = True
        self.queues[signal].put_back(parcel)
        return retry_s, min(2 * retry_s, LAST_RETRY_S)

    async def _deliver(self, signal: str, channel: grpc.aio.Channel, parcel: Parcel) -> None:
        method, response_class, rejected_of = _SIGNALS[signal]
        call: Any = channel.unary_unary(method, response_deserializer=response_class.FromString)
        rejected = rejected_of(await call(parcel.data, timeout=CALL_TIMEOUT_S))
        self.queues[signal].dropped += rejected
        self.delivered[signal] += parcel.count - rejected
        if self._is_known_down:
            logger.info("telemetry is passed on to %s again", self._endpoint)
        self._is_known_down = False

    async def _empty(self, channel: grpc.aio.Channel) -> None:
        for signal, queue in self.queues.items():
            while queue.queued:
                await self._deliver(signal, channel, await queue.take())


def _open(endpoint: str) -> grpc.aio.Channel:
    if endpoint.startswith("https://"):
        credentials = grpc.ssl_channel_credentials()
        return grpc.aio.secure_channel(endpoint.removeprefix("https://"), credentials, options=CHANNEL_OPTIONS)
    return open_channel(endpoint)
