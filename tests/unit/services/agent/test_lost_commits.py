"""Lost commits: which numbers prove them, and which do not."""

from dataclasses import dataclass, field

import pytest

from services.agent.lost_commits import Cursor, MissingCommits, find_missing, find_unknown


@dataclass(frozen=True)
class Case:
    """What the control plane has of run `r`, and what the store has, in generation 2."""

    name: str
    cursor: Cursor
    stored: dict[str, int]
    missing: list[MissingCommits]
    unknown: list[str] = field(default_factory=list)
    deleted: tuple[str, ...] = ()


CASES = (
    Case("in step", Cursor(5, 2), {"r": 5}, []),
    Case("the store is ahead", Cursor(5, 2), {"r": 9}, []),
    Case("the newest are gone", Cursor(9, 2), {"r": 5}, [MissingCommits("r", 9, 5)]),
    Case("the run is gone", Cursor(9, 2), {}, [MissingCommits("r", 9, 0)], ["r"]),
    Case("the run was deleted", Cursor(9, 2), {}, [], deleted=("r",)),
    Case("gone before a restore", Cursor(9, 1), {"r": 5}, []),
    Case("the run is gone since a restore", Cursor(9, 1), {}, [], ["r"]),
    Case("the store is a copy from before a restore", Cursor(9, 3), {"r": 5}, [MissingCommits("r", 9, 5)]),
    Case("such a copy, and nothing is gone", Cursor(5, 3), {"r": 5}, []),
    Case("said to be gone already", Cursor(0, 2), {}, []),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_higher_number_at_the_control_plane_is_proof(case: Case) -> None:
    assert find_missing({"r": case.cursor}, case.stored, case.deleted, generation=2) == case.missing
    assert find_unknown({"r": case.cursor}, case.stored, case.deleted) == case.unknown


def test_the_error_names_the_run_and_both_numbers() -> None:
    error = MissingCommits("r", expected=9, found=5).error
    assert error.reason == "COMMITS_MISSING"
    assert error.metadata == {"run_id": "r", "expected": "9", "found": "5"}
