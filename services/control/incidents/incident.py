"""Something that went wrong, or was put right again, as the control plane saw it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["process_lost", "process_back", "run_lost", "run_resumed"]


@dataclass(frozen=True)
class Incident:
    """One incident. It has a number once it is stored."""

    kind: Kind
    key: str
    """The same incident seen again has the same key, and is stored once."""
    time_ns: int
    message: str
    service: str = ""
    instance_id: str = ""
    run_id: str = ""
    gap_ms: float | None = None
    """For how long nothing was heard of the process that was lost, or is back."""
    number: int = 0
