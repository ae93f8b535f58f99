"""Metrics over HTTP: our own for Prometheus, and those received over OTLP as JSON."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.control.gateway.failures import FAILURES
from services.control.gateway.mapping import series_view
from services.control.gateway.views import SeriesList
from services.control.metrics.exposition import CONTENT_TYPE, Exposition
from services.control.metrics.series import SeriesTable

MAX_SHOWN = 1_000
Text = Annotated[str, Query(max_length=500)]
_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text format"}


def metric_routes(exposition: Exposition, table: SeriesTable) -> APIRouter:
    """The routes."""
    router = APIRouter(responses=FAILURES, tags=["metrics"])

    @router.get("/metrics", response_class=Response, responses={200: _TEXT})
    async def get_metrics() -> Response:
        """Counters, gauges and histograms for Prometheus; on in every mode."""
        return Response(await exposition.render(), media_type=CONTENT_TYPE)

    @router.get("/api/metrics")
    async def list_series(service: Text = "", name: Text = "") -> SeriesList:
        """The latest value of each metric series that was received over OTLP. Services send theirs in debug mode."""
        found = table.find(service, name)
        return SeriesList(series=[series_view(each) for each in found[:MAX_SHOWN]], is_complete=len(found) <= MAX_SHOWN)

    return router
