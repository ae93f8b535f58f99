"""The telemetry doors: OTLP traces in, and TelemetryService."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.control.event_log import EventLog, Gap
from services.control.forward.forwarder import Forwarder
from services.control.registry.limits import check_instance_id
from services.control.runs.projection import RunProjection
from services.control.runs.report import report_from_proto
from services.control.telemetry.committed_spans import read_committed
from services.control.telemetry.otlp import Rejections, read_spans
from services.control.telemetry.span import SpanRecord
from services.control.telemetry.span_store import SpanStore
from services.control.telemetry.wire import filter_from_proto, span_to_proto, start_from_proto
from shared.errors import LimitExceeded
from shared.fault_points import fault_point
from shared.pb import control_v1

Context = grpc.aio.ServicerContext[Any, Any]
MAX_STARTS = 1_000
SPANS_AT_ONCE = 512
"""Read and stored in one piece; between pieces other calls have their turn."""


class OtlpTraceServicer(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans from any OpenTelemetry exporter, and passes them on."""

    def __init__(self, store: SpanStore, forwarder: Forwarder) -> None:
        self._store, self._forwarder = store, forwarder

    async def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Context
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        fault_point("during_call")
        rejections = Rejections()
        spans = read_spans(request, rejections)
        count = 0
        while piece := list(islice(spans, SPANS_AT_ONCE)):
            await self._store.add_ends(piece)
            count += len(piece)
        fault_point("after_record")
        self._forwarder.offer("spans", request, count)
        response = trace_service_pb2.ExportTraceServiceResponse()
        if rejections.count:
            response.partial_success.rejected_spans = rejections.count
            response.partial_success.error_message = str(rejections)
        return response


class TelemetryServicer(control_v1.TelemetryServiceServicer):
    """What OTLP has no word for, and the spans to read."""

    def __init__(self, store: SpanStore, runs: RunProjection, event_log: EventLog, now_s: Callable[[], float]) -> None:
        self._store = store
        self._runs = runs
        self._event_log = event_log
        self._now_s = now_s

    async def ReportSpanStarts(
        self, request: control_v1.ReportSpanStartsRequest, context: Context
    ) -> control_v1.ReportSpanStartsResponse:
        check_instance_id(request.instance_id)
        if len(request.spans) > MAX_STARTS:
            raise LimitExceeded(f"At most {MAX_STARTS} spans in one report.", limit=MAX_STARTS)
        await self._store.add_starts([start_from_proto(span, request.instance_id) for span in request.spans])
        return control_v1.ReportSpanStartsResponse()

    async def ReportRunEvents(
        self, request: control_v1.ReportRunEventsRequest, context: Context
    ) -> control_v1.ReportRunEventsResponse:
        fault_point("during_call")
        report = report_from_proto(request)
        await self._store.keep_committed(read_committed(report), int(self._now_s() * 1e9))
        sequences = await self._runs.apply(report)
        fault_point("after_record")
        return control_v1.ReportRunEventsResponse(sequences=sequences)

    async def GetRunCursors(
        self, request: control_v1.GetRunCursorsRequest, context: Context
    ) -> control_v1.GetRunCursorsResponse:
        cursors = await self._runs.cursors(request.store_id, request.run_ids)
        return control_v1.GetRunCursorsResponse(
            sequences={run_id: cursor.sequence for run_id, cursor in cursors.items()},
            store_generations={run_id: cursor.generation for run_id, cursor in cursors.items()},
        )

    async def ListSpans(self, request: control_v1.ListSpansRequest, context: Context) -> control_v1.ListSpansResponse:
        page = await self._store.page(filter_from_proto(request.filter), request.page_size, request.page_token)
        response = control_v1.ListSpansResponse(next_page_token=page.next_page_token)
        for span in page.spans:
            response.spans.append(span_to_proto(span))
            if len(response.spans) % SPANS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return response

    async def WatchSpans(
        self, request: control_v1.WatchSpansRequest, context: Context
    ) -> AsyncIterator[control_v1.WatchSpansResponse]:
        wanted = filter_from_proto(request.filter)
        after = request.after_cursor or self._event_log.last_cursor
        # tells the reader that from now on it misses nothing
        await context.send_initial_metadata(())
        async for event in self._event_log.read(after):
            if isinstance(event, Gap):
                raise LimitExceeded(
                    f"The changes after cursor {event.after_cursor} are not kept any more.",
                    remedy=f"List the spans, then watch after {event.cursor}.",
                    cursor=event.cursor,
                )
            if isinstance(event.payload, SpanRecord) and wanted.matches(event.payload):
                yield control_v1.WatchSpansResponse(span=span_to_proto(event.payload), cursor=event.cursor)
