"""One measured figure, beside its peer where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A row of a bench."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    n: int = 0


def measured(name: str, value: float, unit: str, peer: str, peer_value: float, n: int) -> Measure:
    """A row with its peer's figure and the ratio of the two."""
    ratio = round(value / peer_value, 4) if peer_value else None
    return Measure(name, round(value, 4), unit, peer, round(peer_value, 4), ratio, n)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie, by nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
