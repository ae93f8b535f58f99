"""The OTLP door for logs: any OpenTelemetry program can send here."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc

from services.control.forward.forwarder import Forwarder
from services.control.logs.log_store import LogStore
from services.control.logs.otlp_logs import read_logs
from services.control.telemetry.otlp import Rejections

Context = grpc.aio.ServicerContext[Any, Any]
RECORDS_AT_ONCE = 512
"""Read and stored in one piece; between pieces other calls have their turn."""


class OtlpLogsServicer(logs_service_pb2_grpc.LogsServiceServicer):
    """Takes log records from any OpenTelemetry exporter, and passes them on. `now_s` is the wall clock."""

    def __init__(self, store: LogStore, forwarder: Forwarder, now_s: Callable[[], float]) -> None:
        self._store, self._forwarder, self._now_s = store, forwarder, now_s

    async def Export(
        self, request: logs_service_pb2.ExportLogsServiceRequest, context: Context
    ) -> logs_service_pb2.ExportLogsServiceResponse:
        rejections = Rejections()
        records = read_logs(request, int(self._now_s() * 1e9), rejections)
        count = 0
        while piece := list(islice(records, RECORDS_AT_ONCE)):
            await self._store.add(piece)
            count += len(piece)
        self._forwarder.offer("logs", request, count)
        response = logs_service_pb2.ExportLogsServiceResponse()
        if rejections.count:
            response.partial_success.rejected_log_records = rejections.count
            response.partial_success.error_message = str(rejections)
        return response
