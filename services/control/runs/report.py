"""What an agent's outbox reports, read from the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.control.registry.limits import check_instance_id
from services.control.telemetry.span import MAX_TIME_NS
from shared.errors import InvalidInput, LimitExceeded
from shared.pb import agent_v1, control_v1

MAX_ITEMS = 1_000
"""Events, runs, deletions and losses in one report, each."""
MAX_ID_CHARS = 128


@dataclass(frozen=True)
class RunReport:
    """News of one store's runs."""

    instance_id: str
    """The process that reports: as long as it lives its runs are not lost."""
    store_id: str
    generation: int
    runs: Sequence[agent_v1.Run] = ()
    sequences: Mapping[str, int] | None = None
    """The newest event number in this report, by run id."""
    events: Sequence[agent_v1.RunEvent] = ()
    """In order for each run."""
    deleted: Sequence[str] = ()
    lost: Mapping[str, int] | None = None
    """What the store still has of runs that lost commits: the newest event number; 0 when it has nothing."""


def report_from_proto(request: control_v1.ReportRunEventsRequest) -> RunReport:
    """Read a report. Raises `InvalidInput` or `LimitExceeded`, which name the field."""
    check_instance_id(request.instance_id)
    _check_id("store_id", request.store_id)
    for field in ("events", "runs", "deleted_run_ids", "lost_runs"):
        if len(getattr(request, field)) > MAX_ITEMS:
            raise LimitExceeded(f"At most {MAX_ITEMS} {field} in one report.", field=field, limit=MAX_ITEMS)
    if any(sequence < 0 for sequence in request.lost_runs.values()):
        raise InvalidInput("lost_runs has a number below 0.", field="lost_runs")
    for run in request.runs:
        _check_id("runs.run_id", run.run_id)
        if not 0 <= run.create_time.seconds * 10**9 <= MAX_TIME_NS:
            raise InvalidInput("runs.create_time must be a time from 1970 until 2262.", field="runs.create_time")
    return RunReport(
        instance_id=request.instance_id,
        store_id=request.store_id,
        generation=request.store_generation,
        runs=request.runs,
        sequences=_sequences(request),
        events=request.events,
        deleted=request.deleted_run_ids,
        lost=request.lost_runs,
    )


def _sequences(request: control_v1.ReportRunEventsRequest) -> dict[str, int]:
    known = {run.run_id for run in request.runs}
    sequences: dict[str, int] = {}
    for event in request.events:
        if event.run_id not in known:
            raise InvalidInput(
                f"There are events of {event.run_id!r}, but not the run.",
                remedy="Send each run that has events along with them.",
                field="runs",
            )
        if event.sequence <= sequences.get(event.run_id, 0):
            raise InvalidInput(f"The events of run {event.run_id!r} are not in order.", field="events")
        sequences[event.run_id] = event.sequence
    return sequences


def _check_id(field: str, value: str) -> None:
    if not value.isprintable() or not 1 <= len(value) <= MAX_ID_CHARS:
        raise InvalidInput(f"{field} must be 1 to {MAX_ID_CHARS} printable characters.", field=field)
