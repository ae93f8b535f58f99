"""How a program's run went."""

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


class State(enum.Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    """Exit code 0."""
    FAILED = "failed"
    """Another exit code, or a signal of its own."""
    LIMIT_EXCEEDED = "limit_exceeded"
    """Ended by a limit."""


@dataclass(frozen=True)
class OutputFile:
    """A file that the program left in its scratch folder."""

    name: str
    """Relative path."""
    size_bytes: int
    sha256: str
    text: str | None
    """The content, when it is UTF-8 and small; otherwise None."""


@dataclass(frozen=True)
class Execution:
    """How a program's run went."""

    state: State
    exit_code: int
    """-1 when a signal ended it."""
    signal: str
    """Such as "SIGKILL"; empty when the program exited."""
    limit: str
    """The name of the limit that ended it, a field of `Limits` or "files"; otherwise empty."""
    stdout: str
    stderr: str
    is_output_truncated: bool
    duration: timedelta
    """Start of the sandbox included."""
    peak_memory_bytes: int
    """Resident memory as sampled, so 0 or too little for a program of a few milliseconds."""
    files: tuple[OutputFile, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the program ran to its end without an error."""
        return self.state is State.SUCCEEDED

    @property
    def last_error(self) -> str:
        """The last line on stderr, where Python names the exception; empty when there is none."""
        return self.stderr.rstrip().rpartition("\n")[2]

    def describe(self) -> str:
        """Returns how it ended in a few words, such as "exit code 1" or "stopped at the limit wall_time"."""
        if self.state is State.LIMIT_EXCEEDED:
            return f"stopped at the limit {self.limit}"
        return f"ended by {self.signal}" if self.signal else f"exit code {self.exit_code}"

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as plain data; the duration in seconds."""
        return {
            **vars(self),
            "state": self.state.value,
            "duration": self.duration.total_seconds(),
            "files": [dict(vars(file)) for file in self.files],
        }
