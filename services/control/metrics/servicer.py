"""The OTLP door for metrics: any OpenTelemetry program can send here."""

import asyncio
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc

from services.control.forward.forwarder import Forwarder
from services.control.metrics.otlp_metrics import read_metrics
from services.control.metrics.series import MAX_SERIES, SeriesTable
from services.control.telemetry.otlp import Rejections

Context = grpc.aio.ServicerContext[Any, Any]
POINTS_AT_ONCE = 1_000
"""Between pieces other calls have their turn."""


class OtlpMetricsServicer(metrics_service_pb2_grpc.MetricsServiceServicer):
    """Takes metrics from any OpenTelemetry exporter, and passes them on."""

    def __init__(self, table: SeriesTable, forwarder: Forwarder) -> None:
        self._table, self._forwarder = table, forwarder

    async def Export(
        self, request: metrics_service_pb2.ExportMetricsServiceRequest, context: Context
    ) -> metrics_service_pb2.ExportMetricsServiceResponse:
        rejections, number = Rejections(), 0
        for number, series in enumerate(read_metrics(request, rejections), 1):
            if not self._table.put(series):
                rejections.add(f"{MAX_SERIES} series are kept already")
            if number % POINTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._forwarder.offer("metrics", request, number)
        response = metrics_service_pb2.ExportMetricsServiceResponse()
        if rejections.count:
            response.partial_success.rejected_data_points = rejections.count
            response.partial_success.error_message = str(rejections)
        return response
