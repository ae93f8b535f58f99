"""What a review says."""

import enum
from dataclasses import dataclass
from typing import Any


class Severity(enum.Enum):
    """How much a finding weighs."""

    MINOR = "minor"
    """Worth mending; does not stand in the way."""
    MAJOR = "major"
    """The task is not done as asked."""
    BLOCKER = "blocker"
    """The code does not run, or its tests fail."""


@dataclass(frozen=True)
class Finding:
    """One fault."""

    severity: Severity
    message: str
    evidence: str = ""
    """What shows it: a test's output, an error, a line of code."""
    line: int = 0
    """From 1; 0 for the whole program."""

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as plain data."""
        return {**vars(self), "severity": self.severity.value}


@dataclass(frozen=True)
class Verdict:
    """Approval, or what stands against it."""

    is_approved: bool
    findings: tuple[Finding, ...]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as plain data."""
        return {
            "is_approved": self.is_approved,
            "summary": self.summary,
            "findings": [finding.to_json() for finding in self.findings],
        }
