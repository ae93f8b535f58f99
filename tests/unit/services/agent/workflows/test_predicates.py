"""Conditions: a closed set of names, and nothing that runs."""

import json
from typing import Any

import pytest

from services.agent.state import Hop, RunState, initial_state
from services.agent.workflows.predicates import BadCondition, parse


def hop(index: int, role: str = "coder", **fields: Any) -> Hop:
    empty: Any = {
        "capability": "coding",
        "step": "write",
        "text": "",
        "outcome": "answered",
        "error": "",
        "message": "",
    }
    return {"index": index, "role": role, "artifacts": [], "citations": [], "mail_position": 0, **empty, **fields}


def review(index: int, verdict: object, **fields: Any) -> Hop:
    text = verdict if isinstance(verdict, str) else json.dumps(verdict)
    return hop(index, "reviewer", artifacts=[{"kind": "verdict", "text": text}], **fields)


def state(*hops: Hop, cycle: int = 0) -> RunState:
    made = initial_state("why?", "medium", 3, 2)
    return made | RunState(hops=list(hops), current_cycle=cycle)


YES, NO = {"is_approved": True}, {"is_approved": False}


@pytest.mark.parametrize(
    ("condition", "seen", "holds"),
    [
        ("always", state(), True),
        ("approved", state(), False),
        ("changes_wanted", state(), False),
        ("approved", state(hop(0), review(1, YES)), True),
        ("changes_wanted", state(hop(0), review(1, YES)), False),
        ("changes_wanted", state(review(0, NO), hop(1)), True),
        ("approved", state(review(0, NO), review(1, YES)), True),
        ("approved", state(review(0, YES), review(1, NO)), False),
        ("changes_wanted", state(review(0, YES), hop(1, "reviewer", error="X")), True),
        ("approved", state(review(0, YES, error="X")), False),
        ("approved", state(review(0, {"is_approved": "true"})), False),
        ("approved", state(review(0, "no json")), False),
        ("approved", state(review(0, [])), False),
        ("changes_wanted and cycles_left", state(review(0, NO), cycle=1), True),
        ("changes_wanted and cycles_left", state(review(0, NO), cycle=2), False),
        ("not (approved or hops_left)", state(hop(0), hop(1), hop(2)), True),
        ("has_evidence", state(hop(0, citations=[{}]), hop(1)), True),
        ("hop_failed or no_answer", state(hop(0, outcome="no_answer")), True),
        ("hop_failed", state(hop(0, error="X"), hop(1)), False),
        ("incomplete", state(), False),
    ],
)
def test_conditions_over_the_state(condition: str, seen: RunState, holds: bool) -> None:
    assert parse(condition)(seen) is holds


@pytest.mark.parametrize(
    "text",
    ["", "tasty", "approved()", "approved == 1", "__import__('os')", "1", "approved if always else approved", "a" * 201,
     "approved\n\nalways", "lambda: always", "always and " * 30 + "always", "\x00"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCondition):
        parse(text)
