"""The shapes of incidents."""

from datetime import datetime
from typing import Literal

from services.control.gateway.view import View, utc
from services.control.incidents.incident import Incident


class IncidentView(View):
    """Something that went wrong, or was put right again, as the control plane saw it."""

    number: int
    """Grows."""
    kind: Literal["process_lost", "process_back", "run_lost", "run_resumed"]
    time: datetime
    message: str
    service: str
    instance_id: str
    """The process that was lost or is back; empty for runs."""
    run_id: str
    """Empty for processes."""
    gap_ms: float | None
    """For how long nothing was heard of the process; None for runs."""


class IncidentList(View):
    """Incidents, newest first."""

    incidents: list[IncidentView]
    next_page_token: str
    cursor: str
    """Follow `/api/events` after it to hear of all later ones."""


def incident_view(incident: Incident) -> IncidentView:
    """An incident as JSON."""
    return IncidentView(
        number=incident.number,
        kind=incident.kind,
        time=utc(incident.time_ns / 1e9),
        message=incident.message,
        service=incident.service,
        instance_id=incident.instance_id,
        run_id=incident.run_id,
        gap_ms=incident.gap_ms,
    )
