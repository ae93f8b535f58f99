"""A log record as it is stored, with OpenTelemetry's severities."""

from typing import Any, Literal, NamedTuple

import orjson

Severity = Literal["unspecified", "trace", "debug", "info", "warn", "error", "fatal"]
SEVERITIES: dict[Severity, int] = {
    "unspecified": 0,
    "trace": 1,
    "debug": 5,
    "info": 9,
    "warn": 13,
    "error": 17,
    "fatal": 21,
}
"""The lowest number of each range, as the OpenTelemetry log data model has them."""


class LogRecord(NamedTuple):
    """A row of the table `logs`, in the order of its columns after the id, so that it binds as it is."""

    time_ns: int
    """Since 1970."""
    severity: int
    """1 to 24; 0 when the sender did not say."""
    severity_text: str
    service: str
    instance_id: str
    logger: str
    """The instrumentation scope."""
    message: str
    trace_id: str
    """32 lower-case hex digits or empty; `span_id` has 16."""
    span_id: str
    run_id: str | None
    thread_id: str | None
    correlation_id: str | None
    attributes: bytes
    """JSON."""
    size: int
    """Bytes, about."""

    def contents(self) -> dict[str, Any]:
        """The decoded attributes."""
        return orjson.loads(self.attributes)  # type: ignore[no-any-return]


def severity_name(number: int) -> Severity:
    """The name of the range that a severity is in."""
    return [name for name, lowest in SEVERITIES.items() if lowest <= number][-1]
