"""Named places where a test lets a process die; nothing at all unless WAYSTATION_FAULTS was set when it started.

WAYSTATION_FAULTS is a list such as `before_checkpoint:kill:3,during_recovery:stop`: at the third arrival at the first
boundary the process kills itself as SIGKILL would from outside; at the first arrival at the second it stops (SIGSTOP),
to be killed or continued by whoever watches it. Each process has an environment of its own, so no process is named.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from shared.errors import InvalidInput

BOUNDARIES: Mapping[str, str] = MappingProxyType(
    {
        "before_node": "a step is about to run",
        "during_call": "a call has arrived and its work has begun, no effect yet",
        "after_effect": "the effect is done, its record is not committed",
        "after_record": "the record is committed, the answer is not sent",
        "before_checkpoint": "the answer is here, the checkpoint is not written",
        "during_commit": "the transaction is written, its COMMIT has not run",
        "while_streaming": "a part of the answer was sent",
        "during_recovery": "the store is open again, or an unfinished run is about to be resumed",
        "during_drain": "the process was told to stop and is finishing its work",
    }
)
"""Every boundary and what is true there."""
ACTIONS: Mapping[str, signal.Signals] = MappingProxyType({"kill": signal.SIGKILL, "stop": signal.SIGSTOP})


def parse_faults(text: str) -> dict[tuple[str, int], signal.Signals]:
    """Return the signal for each (boundary, nth arrival) named by `text`.

    Raises `InvalidInput` for an unknown boundary or action and for a number below 1.
    """
    faults = {}
    for item in filter(None, text.split(",")):
        boundary, _, rest = item.partition(":")
        action, _, number = rest.partition(":")
        number = number or "1"
        if boundary not in BOUNDARIES or action not in ACTIONS or not number.isdecimal() or int(number) < 1:
            raise InvalidInput(
                f"WAYSTATION_FAULTS has {item!r}.",
                remedy=f"Write boundary:action:number with one of {', '.join(BOUNDARIES)} and {', '.join(ACTIONS)}.",
                setting="WAYSTATION_FAULTS",
            )
        faults[boundary, int(number)] = ACTIONS[action]
    return faults


def arm(
    faults: Mapping[tuple[str, int], signal.Signals], send: Callable[[signal.Signals], None]
) -> Callable[[str], None]:
    """Return a `fault_point` that counts arrivals, from any thread, and sends this process what `faults` say."""
    arrivals: Counter[str] = Counter()
    lock = threading.Lock()

    def armed(boundary: str) -> None:
        if boundary not in BOUNDARIES:
            raise InvalidInput(f"{boundary!r} is no boundary.", remedy=f"Known are {', '.join(BOUNDARIES)}.")
        with lock:
            arrivals[boundary] += 1
            number = faults.get((boundary, arrivals[boundary]))
        if number is not None:
            send(number)

    return armed


def _nothing(boundary: str) -> None:
    """The process has arrived at a boundary."""


def _signal_self(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


_wanted = parse_faults(os.environ.get("WAYSTATION_FAULTS", ""))
fault_point: Callable[[str], None] = arm(_wanted, _signal_self) if _wanted else _nothing
"""Call it with the name of a boundary at that boundary."""
