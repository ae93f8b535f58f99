"""What a caller wants of a new run, and its check."""

from dataclasses import dataclass

from services.agent.graph import AUTO
from shared.capability.service import Effort
from shared.errors import InvalidInput
from shared.query_text import check_query

MAX_QUERY_BYTES = 32_768
MAX_ID_CHARS = 128


@dataclass(frozen=True)
class RunRequest:
    """What a caller wants."""

    query: str
    workflow: str = AUTO
    thread_id: str = ""
    effort: Effort | None = None
    """None for what the workflow says."""
    tenant: str = "default"
    request_id: str = ""
    run_timeout_s: float | None = None


def check_request(request: RunRequest) -> None:
    """Raise `InvalidInput`, naming the field and its limit."""
    check_query(request.query, MAX_QUERY_BYTES)
    for name in ("thread_id", "tenant", "request_id"):
        if len(getattr(request, name)) > MAX_ID_CHARS:
            raise InvalidInput(f"{name} is longer than {MAX_ID_CHARS} characters.", field=name, limit=MAX_ID_CHARS)
    if request.run_timeout_s is not None and request.run_timeout_s <= 0:
        raise InvalidInput("run_timeout must be longer than nothing.", field="run_timeout")
