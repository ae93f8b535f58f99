"""The router's parameters: how evidence becomes a probability, and where the numbers were made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DATA = Path(__file__).parent / "data"
CALIBRATION_FILE = DATA / "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """What turns a query's likeness to examples into probabilities; `calibrate.py` fits and stores it."""

    linear_weight: float
    """How much the linear classifier's score counts, in nats per unit."""
    kernel_weight: float
    """How much the log of the mean likeness to a service's examples counts."""
    sharpness: float
    """How fast likeness falls with distance, in nats per unit of cosine."""
    surface_share: float
    """How much the surface counts in likeness, with the sentence vector as 1."""
    ridge: float = 2e-3
    """Penalty on the linear classifier's weights."""
    balance: float = 0.3
    """A service with n examples counts n to this power in the linear classifier: at 0 all count alike."""


def load_calibration(kind: Literal["embedding", "heuristic"], path: Path = CALIBRATION_FILE) -> Calibration:
    """Read the parameters for one kind of router; raises OSError, ValueError, KeyError or TypeError when it cannot."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(**document[kind]["parameters"])
