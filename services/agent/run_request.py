"""What a caller wants of a new run, and its check."""

import unicodedata
from dataclasses import dataclass

from services.agent.graph import AUTO
from shared.capability.service import Effort
from shared.errors import InvalidInput, UnknownWorkflow

MAX_QUERY_BYTES = 32_768
MAX_ID_CHARS = 128
PERMITTED_CONTROLS = frozenset("\t\n\r")


@dataclass(frozen=True)
class RunRequest:
    """What a caller wants."""

    query: str
    workflow: str = AUTO
    thread_id: str = ""
    effort: Effort = "medium"
    tenant: str = "default"
    request_id: str = ""
    run_timeout_s: float | None = None


def check_request(request: RunRequest) -> None:
    """Raise `InvalidInput` or `UnknownWorkflow`, naming the field and its limit."""
    check_query(request.query)
    if request.workflow != AUTO:
        raise UnknownWorkflow(f"There is no workflow {request.workflow!r}.", remedy=f"Known: {AUTO}.", known=AUTO)
    for name in ("thread_id", "tenant", "request_id"):
        if len(getattr(request, name)) > MAX_ID_CHARS:
            raise InvalidInput(f"{name} is longer than {MAX_ID_CHARS} characters.", field=name, limit=MAX_ID_CHARS)
    if request.run_timeout_s is not None and request.run_timeout_s <= 0:
        raise InvalidInput("run_timeout must be longer than nothing.", field="run_timeout")


def check_query(query: str) -> None:
    """Raise `InvalidInput` unless `query` is text of a possible size."""
    size = len(query.encode("utf-8", errors="surrogatepass"))
    if not query.strip() or size > MAX_QUERY_BYTES:
        raise InvalidInput(
            f"The query has {size} bytes{'' if query.strip() else ' and no text'}; "
            f"1 to {MAX_QUERY_BYTES} bytes of text are possible.",
            field="query",
            limit=f"{MAX_QUERY_BYTES} bytes",
        )
    for position, character in enumerate(query):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in PERMITTED_CONTROLS:
            raise InvalidInput(
                f"The query has the control character U+{ord(character):04X} at position {position}.",
                remedy="Send text; tab and newlines are fine.",
                field="query",
            )
