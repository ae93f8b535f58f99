"""What a sandboxed program may use up."""

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.errors import InvalidInput

LEAST_MEMORY_BYTES = 64 * 2**20
"""Below this Python itself does not start."""

_ANSWER_S = 0.25
"""What it takes to tell the caller, after the program has ended."""


@dataclass(frozen=True)
class Limits:
    """Upper bounds of one run."""

    wall_time: timedelta = timedelta(seconds=10)
    cpu_time: timedelta = timedelta(seconds=10)
    """Of all threads together; counted in whole seconds, rounded up."""
    memory_bytes: int = 512 * 2**20
    """Address space, which is what the kernel can bound per process."""
    output_bytes: int = 64 * 2**10
    """Of stdout and stderr together."""
    scratch_bytes: int = 64 * 2**20
    """Of all files together; also the most of one file."""
    threads: int = 32
    """The program is one process and starts no others."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > type(value)():
                raise InvalidInput(f"The sandbox limit {name} must be positive, not {value}.", field=name)
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            raise InvalidInput(
                f"The sandbox limit memory_bytes must be at least {LEAST_MEMORY_BYTES}, not {self.memory_bytes}.",
                field="memory_bytes",
            )

    def within(self, remaining_s: float | None) -> "Limits":
        """Returns these limits with a wall time that ends before the remaining seconds of a call do."""
        if remaining_s is None:
            return self
        return self.tightened(wall_time=timedelta(seconds=max(remaining_s - _ANSWER_S, _ANSWER_S)))

    def tightened(
        self,
        *,
        wall_time: timedelta | None = None,
        cpu_time: timedelta | None = None,
        memory_bytes: int | None = None,
        output_bytes: int | None = None,
        scratch_bytes: int | None = None,
        threads: int | None = None,
    ) -> "Limits":
        """Returns these limits, each lowered to what is wished where that is less; None wishes nothing.

        Raises InvalidInput for a limit that is not positive, or less memory than Python needs.
        """
        wishes = {
            "wall_time": wall_time,
            "cpu_time": cpu_time,
            "memory_bytes": memory_bytes,
            "output_bytes": output_bytes,
            "scratch_bytes": scratch_bytes,
            "threads": threads,
        }
        lowered = {name: min(wish, getattr(self, name)) for name, wish in wishes.items() if wish is not None}
        return replace(self, **lowered)
