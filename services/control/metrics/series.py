"""The latest value of each OTLP metric series: a bounded table in memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

MAX_SERIES = 5_000
STALE_S = 600.0
"""When the table is full, series that nobody has sent for so long make room."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric stream's latest point."""

    name: str
    kind: str
    """"gauge", "sum", "histogram" or "summary"."""
    unit: str
    description: str
    service: str
    instance_id: str
    attributes: bytes
    """JSON."""
    temporality: str
    """"cumulative", "delta", or empty where there is none."""
    time_ns: int
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    bounds: tuple[float, ...] = ()
    bucket_counts: tuple[int, ...] = ()

    def contents(self) -> dict[str, Any]:
        """The decoded attributes."""
        return orjson.loads(self.attributes)  # type: ignore[no-any-return]


Key = tuple[str, str, str, bytes]


class SeriesTable:
    """Keeps the newest point of each series."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._series: dict[Key, tuple[float, Series]] = {}

    def __len__(self) -> int:
        return len(self._series)

    def put(self, series: Series) -> bool:
        """Take a point in; an older one than is here changes nothing. False when there is no room for the series."""
        key = (series.service, series.name, series.instance_id, series.attributes)
        known = self._series.get(key)
        if known is None and len(self._series) >= MAX_SERIES:
            self._drop_stale()
            if len(self._series) >= MAX_SERIES:
                return False
        if known is None or known[1].time_ns <= series.time_ns:
            self._series[key] = (self._clock(), series)
        return True

    def find(self, service: str = "", name: str = "") -> list[Series]:
        """The series, by service and name; an empty argument does not narrow."""
        chosen = [
            series
            for _, series in self._series.values()
            if service in ("", series.service) and name in ("", series.name)
        ]
        return sorted(chosen, key=lambda series: (series.service, series.name, series.instance_id, series.attributes))

    def _drop_stale(self) -> None:
        oldest = self._clock() - STALE_S
        self._series = {key: entry for key, entry in self._series.items() if entry[0] >= oldest}
