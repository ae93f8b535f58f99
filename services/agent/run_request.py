"""What a caller wants of a new run, and its check."""

from dataclasses import dataclass

from services.agent.graph import AUTO
from shared.call_context import current_call, spent_hops
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


def granted_hops(max_hops: int) -> int:
    """The calls that a new run may make: its workflow's, but no more than a service that starts it may still cause.

    Raises `LimitExceeded` when that is none.
    """
    call_context = current_call()
    budget = call_context.budget if call_context else None
    if budget is None or budget.remaining_hops is None:
        return max_hops
    if budget.remaining_hops == 0:
        raise spent_hops()
    return min(max_hops, budget.remaining_hops)
