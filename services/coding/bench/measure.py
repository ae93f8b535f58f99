"""One measured figure."""

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
