"""The control plane as the outbox sees it, over gRPC."""

from services.agent.lost_commits import Cursor
from services.agent.outbox import Report
from shared.pb import control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

CALL_TIMEOUT_S = 5.0


class ControlPeer:
    """Reports one store's runs. Needs a running event loop; close it with `close`."""

    def __init__(self, address: str, instance_id: str, store_id: str) -> None:
        self._instance_id, self._store_id = instance_id, store_id
        self._channel = open_channel(address, has_spans=False)
        self._stub = control_v1.TelemetryServiceStub(self._channel)

    async def cursors(self) -> dict[str, Cursor]:
        """How far the newest runs, and all that have not ended, were reported. Raises `WaystationError`."""
        with peer_errors("control"):
            request = control_v1.GetRunCursorsRequest(store_id=self._store_id)
            found = await self._stub.GetRunCursors(request, timeout=CALL_TIMEOUT_S)
        return {run_id: Cursor(number, found.store_generations[run_id]) for run_id, number in found.sequences.items()}

    async def report(self, report: Report) -> None:
        """Deliver a report. Raises `WaystationError`."""
        request = control_v1.ReportRunEventsRequest(
            instance_id=self._instance_id,
            store_id=self._store_id,
            store_generation=report.generation,
            events=report.events,
            runs=report.runs,
            deleted_run_ids=report.deleted,
            lost_runs=report.lost,
        )
        with peer_errors("control"):
            await self._stub.ReportRunEvents(request, timeout=CALL_TIMEOUT_S)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
