"""What an edge of a workflow can ask of the state: a closed set of names, joined by `and`, `or` and `not`."""

import ast
from collections.abc import Callable, Mapping
from typing import Any, cast

from services.agent.state import RunState, remaining_hops
from services.agent.verdicts import is_approved, is_unresolved

MAX_CHARS = 200
DECIDED = "decided_"
"""How the names begin that ask what was decided: there must be a decision then."""

Predicate = Callable[[RunState], bool]


class BadCondition(ValueError):
    """The text is no condition; says why, and where in it."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


def _decided(action: str) -> Predicate:
    return lambda state: state["decision"]["action"] == action


def _last_hop(state: RunState, name: str) -> Any:
    return cast(Any, state["hops"][-1])[name] if state["hops"] else ""


PREDICATES: Mapping[str, tuple[str, Predicate]] = {
    "always": ("in any case", lambda state: True),
    "decided_call": ("the arbitrator decided to call a service", _decided("call")),
    "decided_answer": ("the arbitrator decided to answer", _decided("answer")),
    "decided_clarify": ("the arbitrator decided to ask back", _decided("clarify")),
    "approved": ("the newest review approves", is_approved),
    "changes_wanted": ("the newest review does not approve, or came to nothing", is_unresolved),
    "has_evidence": ("a hop has found sources", lambda state: any(hop["citations"] for hop in state["hops"])),
    "hop_failed": ("the newest hop failed", lambda state: bool(_last_hop(state, "error"))),
    "no_answer": ("the newest hop had no answer", lambda state: _last_hop(state, "outcome") == "no_answer"),
    "incomplete": ("what the newest hop made does not work", lambda state: _last_hop(state, "outcome") == "incomplete"),
    "cycles_left": (
        "the loop may turn once more",
        lambda state: state["current_cycle"] < state["max_cycles"],
    ),
    "hops_left": ("a call may still be made", lambda state: remaining_hops(state) > 0),
}
"""Meaning and function of each, by name."""


def parse(text: str) -> Predicate:
    """The condition as a function. Raises `BadCondition`."""
    if len(text) > MAX_CHARS:
        raise BadCondition(f"A condition has at most {MAX_CHARS} characters.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise BadCondition(f"{text!r} is no condition: names joined by and, or, not.") from error
    return _built(tree.body)


def _built(node: ast.expr) -> Predicate:
    match node:
        case ast.Name(id=name) if name in PREDICATES:
            return PREDICATES[name][1]
        case ast.Name(id=name):
            raise BadCondition(f"There is no predicate {name!r}; known: {', '.join(PREDICATES)}.", node.col_offset)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _built(operand)
            return lambda state: not inner(state)
        case ast.BoolOp(op=operator, values=values):
            parts = [_built(value) for value in values]
            joined = all if isinstance(operator, ast.And) else any
            return lambda state: joined(part(state) for part in parts)
    raise BadCondition("A condition is made of names, and, or, not and parentheses.", node.col_offset)
