"""The agent's settings."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from services.agent.approvals import check_names
from shared.settings import DEFAULT_DOORS, Settings


class AgentSettings(Settings):
    """What the agent needs to know."""

    section: ClassVar[str] = "agent"

    port: int = Field(default=DEFAULT_DOORS["agent"], ge=0, le=65535)
    router: Literal["embedding", "generative", "heuristic"] = "embedding"
    """What recommends; `generative` asks `router_model_name` at `model_url`."""
    router_model_name: str = ""
    """The generative router's model: a GGUF file, or a name at `model_url`; empty means the low-effort model."""
    max_hops: int = Field(default=3, ge=1, le=10)
    """Hops of one `auto` run."""
    policy_confidence: float = Field(default=0.8, ge=0, le=1)
    """From here on a low-effort request follows the router without asking a model."""
    safe_confidence: float = Field(default=0.5, ge=0, le=1)
    """Below it a fallback does not call the recommended service."""
    run_timeout_s: float = Field(default=900, gt=0)
    hop_timeout_s: float = Field(default=240, gt=0)
    arbitrate_timeout_s: float = Field(default=60, gt=0)
    respond_timeout_s: float = Field(default=120, gt=0)
    context_budget_tokens: int = Field(default=600, ge=100, le=100_000)
    """About how many tokens of a thread's conversation the next run is told; older turns become a line, then go."""
    thread_policy: Literal["refuse", "queue"] = "refuse"
    """What becomes of a run for a thread that has an unfinished one: refused, or its request waits for its turn."""
    max_queued_runs: int = Field(default=16, ge=1)
    """Requests that may wait for one thread; a further one is refused."""
    max_live_runs: int = Field(default=256, ge=1)
    """Runs that may be under way at once; a further one is refused."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a run is taken up after a crash before it counts as poison."""
    backup_interval_s: float = Field(default=3600, ge=0)
    """Time between two backups of agent.db; one more is made at a clean stop; 0 makes none."""
    backup_count: int = Field(default=24, ge=1)
    """How many backups are kept."""
    min_free_bytes: int = Field(default=64_000_000, ge=0)
    """New runs are refused while the disk of the data folder has less room than this."""
    lease_s: float = Field(default=15, gt=0)
    """How long a thread belongs to this process without a renewal."""
    sweep_interval_s: float = Field(default=1, gt=0)
    """How often runs without a driver are looked for, and leases renewed."""
    trial_timeout_s: float = Field(default=300, gt=0)
    """How long a run that may have killed the process twice is tried alone: longer than the longest step."""
    drain_timeout_s: float = Field(default=10, ge=0)
    """How long a stopping agent waits for its runs to reach a step boundary."""
    approvals: tuple[str, ...] = ()
    """Calls that somebody must approve first: names of capabilities and roles, `tool:NAME` for a tool, `risk:high` for
    services that are not idempotent, `risk:low` for every call."""
    retention_days: float = Field(default=90, gt=0)
    """Finished runs older than this are deleted."""
    retention_runs: int = Field(default=20_000, ge=0)
    """So many finished runs are kept; older ones are deleted."""

    @field_validator("approvals", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        return [name for name in names if name] if isinstance(names, list) else names

    @field_validator("approvals")
    @classmethod
    def _check_approvals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_names(value)
        return value
