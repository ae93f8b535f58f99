"""One measured figure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A figure, and what the peer reached in the same run."""

    name: str
    value: float
    unit: str
    peer: str = ""
    """What it is compared with; empty when there is nothing to compare."""
    peer_value: float | None = None
    ratio: float | None = None
    """`value / peer_value`."""
    n: int = 1
    """How many samples the value is made of."""


def compared(name: str, value: float, unit: str, peer: str, peer_value: float, n: int) -> Measure:
    """A figure beside its peer's."""
    return Measure(name, value, unit, peer, peer_value, value / peer_value if peer_value else None, n)


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of all lie (nearest rank). Raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
