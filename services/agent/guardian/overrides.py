"""What an override does to a state, and which of several overrides counts: pure functions over acts and states."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.agent.guardian.audit import Act
from services.agent.state import RunState, remaining_hops
from services.agent.state_edit import checked_updates
from shared.errors import WaystationError

MAX_SHOWN_BYTES = 4_096
"""A larger value is shown as its size and digest."""


@dataclass(frozen=True)
class Override:
    """An override as it takes effect on a state."""

    act: Act
    changes: RunState
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    error: str = ""
    """Why it cannot take effect; it changes nothing then."""


def overruled(acts: Sequence[Act]) -> dict[int, Act]:
    """Of acts that take effect together, those that a later one contradicts: its entry, and the latest such act."""
    return {
        earlier.entry: later
        for place, earlier in enumerate(acts)
        for later in acts[place + 1 :]
        if _contradicts(later, earlier)
    }


def _contradicts(later: Act, earlier: Act) -> bool:
    change, former = later.order.change, earlier.order.change
    match earlier.order.action, later.order.action:
        case "set_state", "set_state":
            return former.keys() <= change.keys()
        case "force_capability", "force_capability":
            return True
        case ("force_capability", "veto_capability") | ("veto_capability", "force_capability"):
            return bool(change["capability"] == former["capability"])
    return False


def apply(act: Act, state: RunState, supersedes: Sequence[str], max_hops: int) -> Override:
    """The act's changes to a state, with the changed fields as they were and as they are."""
    try:
        changes = _changes(act, state, max_hops)
    except WaystationError as error:  # the state is not what it was when the act was checked
        return Override(act, RunState(), {}, {"error": error.message}, error.message)
    names = act.order.change if act.order.action == "set_state" else changes
    before = {name: _shown(state, name) for name in names}
    after = {name: _shown(state | changes, name) for name in names}
    return Override(act, changes, before, {**after, **({"supersedes": list(supersedes)} if supersedes else {})})


def _changes(act: Act, state: RunState, max_hops: int) -> RunState:
    change, vetoed = act.order.change, state.get("vetoed_capabilities", [])
    match act.order.action:
        case "set_state":
            return checked_updates(change, state, max_hops)
        case "force_capability":
            name = change["capability"]
            return RunState(forced_capability=name, vetoed_capabilities=[each for each in vetoed if each != name])
        case "veto_capability":
            name, forced = change["capability"], state.get("forced_capability", "")
            free = "" if forced == name else forced
            return RunState(forced_capability=free, vetoed_capabilities=sorted({*vetoed, name}))
        case "skip_step":
            return RunState(skipped_steps={**state.get("skipped_steps", {}), change["step"]: len(state["hops"])})
    return RunState()


def _shown(state: RunState, name: str) -> Any:
    """A field as events and the log show it."""
    value = remaining_hops(state) if name == "remaining_hops" else dict[str, Any](state).get(name)
    text = json.dumps(value, sort_keys=True)
    if len(text) <= MAX_SHOWN_BYTES:
        return value
    return {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
