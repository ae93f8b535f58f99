"""Tells lost commits: the control plane has seen events that are no longer in the store.

SQLite recovers from a truncated WAL by dropping what it cannot read, and calls the result sound. Events leave the
process after their commit only, so a number at the control plane that is higher than the store's is proof.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.errors import CommitsMissing


@dataclass(frozen=True)
class Cursor:
    """How far a run was reported to the control plane."""

    sequence: int
    generation: int
    """The store's generation at that time; a restore, which accepts the loss of what came later, raises it."""


@dataclass(frozen=True)
class MissingCommits:
    """A run of which commits are missing."""

    run_id: str
    expected: int
    """The newest event that the control plane has seen."""
    found: int
    """The newest event in the store; 0 when it does not know the run."""

    @property
    def error(self) -> CommitsMissing:
        """Why the run fails."""
        return CommitsMissing(
            f"Of run {self.run_id} events up to {self.expected} were stored; the store has {self.found}.",
            remedy="Ask again. Look at the disk, or at who put an older copy of agent.db in its place.",
            run_id=self.run_id,
            expected=self.expected,
            found=self.found,
        )


def find_missing(
    cursors: Mapping[str, Cursor], stored: Mapping[str, int], deleted: Collection[str], generation: int
) -> list[MissingCommits]:
    """The runs which the store, being in `generation`, has lost commits of since it was made or last restored.

    `stored` has the newest event number of each run that the store knows; `deleted` are runs deleted on purpose.
    """
    return [
        MissingCommits(run_id, cursor.sequence, stored.get(run_id, 0))
        for run_id, cursor in cursors.items()
        if cursor.generation >= generation and cursor.sequence > stored.get(run_id, 0) and run_id not in deleted
    ]


def find_unknown(cursors: Mapping[str, Cursor], stored: Mapping[str, int], deleted: Collection[str]) -> list[str]:
    """The runs which the control plane has and the store does not, whether that loss was accepted or not."""
    return [
        run_id
        for run_id, cursor in cursors.items()
        if cursor.sequence > 0 and run_id not in stored and run_id not in deleted
    ]
