"""The coding service's settings."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from services.coding.sandbox.limits import LEAST_MEMORY_BYTES, Limits
from shared.settings import DEFAULT_DOORS, Settings


class CodingSettings(Settings):
    """What the coding service needs to know."""

    section: ClassVar[str] = "coding"

    port: int = Field(default=DEFAULT_DOORS["coding"], ge=0, le=65535)
    max_output_tokens: int = Field(default=800, ge=64)
    """What the model may write for one task, its repair included."""
    is_opinion_binding: bool = False
    """Whether a review's model can refuse code in which no run showed a fault; for large models."""
    max_sandboxes: int = Field(default=2, ge=1)
    """Programs that run at once."""
    max_waiting: int = Field(default=16, ge=0)
    """Programs that may wait for a sandbox; a further one is refused."""
    wall_time_s: float = Field(default=10, gt=0)
    cpu_time_s: float = Field(default=10, gt=0)
    memory_mb: int = Field(default=512, ge=LEAST_MEMORY_BYTES // 2**20)
    output_kb: int = Field(default=64, ge=1, le=1024)
    """stdout and stderr together."""
    scratch_mb: int = Field(default=64, ge=1)
    threads: int = Field(default=32, ge=1)

    @property
    def limits(self) -> Limits:
        """What a program may use up."""
        return Limits(
            wall_time=timedelta(seconds=self.wall_time_s),
            cpu_time=timedelta(seconds=self.cpu_time_s),
            memory_bytes=self.memory_mb * 2**20,
            output_bytes=self.output_kb * 2**10,
            scratch_bytes=self.scratch_mb * 2**20,
            threads=self.threads,
        )
