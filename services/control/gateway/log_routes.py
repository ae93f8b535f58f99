"""Stored log records over HTTP."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from services.control.gateway.failures import FAILURES
from services.control.gateway.mapping import log_view
from services.control.gateway.views import LogList
from services.control.logs.log_record import SEVERITIES
from services.control.logs.log_store import LogFilter, LogStore

Text = Annotated[str, Query(max_length=500)]
UnixMs = Annotated[float, Query(ge=0, le=9e12, description="Milliseconds since 1970; 0 does not narrow")]


def log_routes(logs: LogStore) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/logs", responses=FAILURES, tags=["logs"])

    @router.get("")
    async def list_logs(
        run_id: Text = "",
        thread_id: Text = "",
        correlation_id: Text = "",
        trace_id: Text = "",
        service: Text = "",
        severity: Annotated[
            Literal["trace", "debug", "info", "warn", "error", "fatal"] | None, Query(description="At least so severe")
        ] = None,
        text: Text = "",
        from_unix_ms: UnixMs = 0,
        to_unix_ms: UnixMs = 0,
        page_size: Annotated[int, Query(ge=0, le=2_000, description="0 means 200")] = 0,
        page_token: Annotated[str, Query(max_length=500, description="From the page before")] = "",
    ) -> LogList:
        """Log records, newest first. Services send theirs in debug mode."""
        wanted = LogFilter(
            run_id=run_id,
            thread_id=thread_id,
            correlation_id=correlation_id,
            trace_id=trace_id,
            service=service,
            min_severity=SEVERITIES[severity] if severity else 0,
            text=text,
            time_ns_from=int(from_unix_ms * 1e6),
            time_ns_to=int(to_unix_ms * 1e6),
        )
        page = await logs.page(wanted, page_size, page_token)
        return LogList(logs=[log_view(record) for record in page.records], next_page_token=page.next_page_token)

    return router
