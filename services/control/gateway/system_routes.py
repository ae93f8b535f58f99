"""How the mesh itself is, over HTTP: incidents, stores, queues."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from fastapi import APIRouter

from services.control.gateway.failures import FAILURES
from services.control.gateway.gateway import Gateway
from services.control.gateway.incident_views import IncidentList, incident_view
from services.control.gateway.parameters import PageSize, PageToken, Text
from services.control.gateway.view import View, utc
from shared.pb import control_v1

Counts = Mapping[tuple[str, str], float]
DROPPING = {"spans.dropped": "spans", "span_starts.dropped": "span_starts", "logs.dropped": "logs"}
"""Queues of telemetry in each process, by the counter that says what they dropped."""


class StoreView(View):
    """What a service's store holds, as its last heartbeat said."""

    service: str
    instance_id: str
    """The process that has it; empty for the control plane's own."""
    used_bytes: int | None
    free_bytes: int | None
    """What deletions have left in the file for what comes."""
    write_errors: int
    """Transactions that the disk or the file refused, since its process began."""
    backup_count: int | None
    """None when the service makes no backups."""
    newest_backup_time: datetime | None
    newest_backup_bytes: int | None


class StoreList(View):
    """The stores that are known of."""

    stores: list[StoreView]


class QueueView(View):
    """Something that waits in a service."""

    service: str
    name: str
    """`spans`, `span_starts`, `logs`, `outbox`, `forwarded_<signal>`."""
    waiting: int | None
    """None when the service does not say."""
    dropped: int | None
    """Given up since the service began, over all its lives; None for queues that drop nothing."""


class QueueList(View):
    """The queues that are known of."""

    queues: list[QueueView]


def system_routes(gateway: Gateway) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api", responses=FAILURES, tags=["system"])

    @router.get("/incidents")
    async def list_incidents(run_id: Text = "", page_size: PageSize = 0, page_token: PageToken = "") -> IncidentList:
        """Crashes and recoveries, newest first: processes that went without leave, runs that lost their agent."""
        cursor = gateway.event_log.last_cursor
        found, next_page_token = await gateway.incidents.page(run_id, page_size, page_token)
        views = [incident_view(each) for each in found]
        return IncidentList(incidents=views, next_page_token=next_page_token, cursor=str(cursor))

    @router.get("/storage")
    async def list_stores() -> StoreList:
        """What the stores hold, whether writing to them fails, and their newest backups."""
        processes = [(each, gateway.counters.of(each.instance_id)) for each in gateway.registry.snapshot().instances]
        stores = [_store(*each) for each in processes if "storage.used_bytes" in each[1]]
        return StoreList(stores=[await _own_store(gateway), *stores])

    @router.get("/queues")
    async def list_queues() -> QueueList:
        """What waits, in the control plane and in the services, and what queues had to drop."""
        return QueueList(
            queues=[*_own_queues(gateway), *_queues(gateway.counters.present(), gateway.counters.totals())]
        )

    return router


def _store(process: control_v1.ServiceInstance, counters: Mapping[str, float]) -> StoreView:
    newest = counters.get("backup.newest_unix_s")
    return StoreView(
        service=process.descriptor.name,
        instance_id=process.instance_id,
        used_bytes=_whole(counters.get("storage.used_bytes")),
        free_bytes=_whole(counters.get("storage.free_bytes")),
        write_errors=_whole(counters.get("storage.write_errors")) or 0,
        backup_count=_whole(counters.get("backup.count")),
        newest_backup_time=None if newest is None else utc(newest),
        newest_backup_bytes=_whole(counters.get("backup.newest_bytes")),
    )


async def _own_store(gateway: Gateway) -> StoreView:
    used, free = await gateway.store_size()
    return StoreView(
        service="control",
        instance_id="",
        used_bytes=used,
        free_bytes=free,
        write_errors=gateway.write_errors(),
        backup_count=None,
        newest_backup_time=None,
        newest_backup_bytes=None,
    )


def _own_queues(gateway: Gateway) -> Iterator[QueueView]:
    yield QueueView(service="control", name="spans", waiting=gateway.spans.pending, dropped=None)
    yield QueueView(service="control", name="logs", waiting=gateway.logs.pending, dropped=None)
    for signal, queue in gateway.forwarder.queues.items():
        yield QueueView(service="control", name=f"forwarded_{signal}", waiting=queue.queued, dropped=queue.dropped)


def _queues(present: Counts, totals: Counts) -> Iterator[QueueView]:
    for service in sorted({service for service, _ in present}):
        outbox = _whole(present.get((service, "outbox.waiting_runs")))
        if outbox is not None:
            yield QueueView(service=service, name="outbox", waiting=outbox, dropped=None)
        for counter, name in DROPPING.items():
            dropped = _whole(totals.get((service, counter)))
            if dropped is not None:
                yield QueueView(service=service, name=name, waiting=None, dropped=dropped)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
