"""Changes that a person may make to a run's state, checked before they are stored."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from services.agent.run_request import MAX_QUERY_BYTES
from services.agent.state import RunState
from shared.errors import Forbidden, InvalidInput
from shared.query_text import check_query

EDITABLE = ("query", "effort", "remaining_hops", "decision", "conversation")
_STATE: TypeAdapter[RunState] = TypeAdapter(RunState)


def checked_updates(updates: Mapping[str, Any], max_hops: int) -> RunState:
    """The updates as state. Raises `Forbidden` for a field that is not editable, `InvalidInput` for a bad value."""
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
        state = _STATE.validate_python(dict(updates))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise InvalidInput(f"{place}: {problem['msg']}.", field=place) from None
    if "query" in state:
        check_query(state["query"], MAX_QUERY_BYTES)
    if not 0 <= state.get("remaining_hops", 0) <= max_hops:
        raise InvalidInput(f"remaining_hops must be 0 to {max_hops}.", field="remaining_hops", limit=max_hops)
    return cast(RunState, {name: state[name] for name in updates})  # type: ignore[literal-required]
