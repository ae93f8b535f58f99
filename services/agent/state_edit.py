"""Changes that a person may make to a run's state, checked before they are stored."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from services.agent.run_request import MAX_QUERY_BYTES
from services.agent.state import RunState, remaining_hops, used_hops
from shared.errors import Forbidden, InvalidInput, LimitExceeded
from shared.query_text import check_query

EDITABLE = ("query", "effort", "remaining_hops", "decision", "conversation")


class _Updates(RunState, total=False):
    remaining_hops: int  # kept as a budget and what was used of it


_UPDATES: TypeAdapter[_Updates] = TypeAdapter(_Updates)


def checked_updates(updates: Mapping[str, Any], present: RunState, max_hops: int) -> RunState:
    """The updates of a present state.

    Raises `Forbidden` for a field that is not editable, `InvalidInput` for a bad value.
    """
    if not updates:
        raise InvalidInput("There is nothing to change.", field="updates")
    for name in updates:
        if name not in EDITABLE:
            known = name in RunState.__annotations__
            raise (Forbidden if known else InvalidInput)(
                f"The state field {name!r} {'is protected' if known else 'does not exist'}.",
                remedy=f"Editable: {', '.join(EDITABLE)}.",
                field=name,
            )
    try:
        state = _UPDATES.validate_python(dict(updates))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise InvalidInput(f"{place}: {problem['msg']}.", field=place) from None
    if "query" in state:
        check_query(state["query"], MAX_QUERY_BYTES)
    checked = {name: value for name, value in state.items() if name in updates}
    if "remaining_hops" in checked:
        checked["max_hops"] = budget(present, checked.pop("remaining_hops"), max_hops)
    return cast(RunState, checked)


def budget(present: RunState, remaining: Any, max_hops: int) -> int:
    """The `max_hops` under which so many hops remain. Raises `InvalidInput` unless it is 0 to `max_hops`."""
    if not 0 <= remaining <= max_hops:
        raise InvalidInput(f"remaining_hops must be 0 to {max_hops}.", field="remaining_hops", limit=max_hops)
    return used_hops(present) + int(remaining)


def within(granted: int, present: RunState, updates: RunState | None) -> RunState | None:
    """The updates of a present state with which no more hops remain than are granted.

    Raises `LimitExceeded` for a state of before the first step, whose hops are not counted yet.
    """
    state = cast(RunState, {**present, **(updates or {})})
    if "max_hops" not in state:
        raise LimitExceeded(
            f"The caller has {granted} hops, and the run's are not counted yet at this checkpoint.",
            remedy="Fork from a later checkpoint, or start a run.",
            limit="remaining_hops",
        )
    if remaining_hops(state) <= granted:
        return updates
    return cast(RunState, {**(updates or {}), "max_hops": used_hops(state) + granted})
