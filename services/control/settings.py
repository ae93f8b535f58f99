"""The settings of the control plane."""

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from shared.settings import DEFAULT_DOORS, Settings


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ControlSettings(Settings):
    """What the control plane needs to know."""

    section: ClassVar[str] = "control"

    port: int = Field(default=DEFAULT_DOORS["control"], ge=0, le=65535)
    """The gRPC door; 0 takes any free port."""
    http_port: int = Field(default=7480, ge=0, le=65535)
    """The HTTP door; 0 takes any free port."""
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    """Host names, besides those of loopback, under which the HTTP door may be addressed; comma-separated."""
    agent_address: str = f"127.0.0.1:{DEFAULT_DOORS['agent']}"
    """Where the agent is while none is registered, as host:port."""
    lease_s: float = Field(default=10.0, ge=1, le=60)
    """The lease of a registration that asks for none."""
    heartbeat_s: float = Field(default=3.0, gt=0, le=20)
    """How often the registered processes are to report."""
    health_check_s: float = Field(default=5.0, gt=0)
    """How often each registered address is checked."""
    retention_days: float = Field(default=7.0, gt=0)
    """How long spans are kept."""
    max_spans: int = Field(default=2_000_000, ge=1_000)
    """How many spans are kept at most; the oldest go first."""
    log_retention_days: float = Field(default=3.0, gt=0)
    """How long log records are kept."""
    max_log_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    """How much of them is kept at most, about; the oldest go first."""
    max_store_bytes: int = Field(default=4 * 1024**3, ge=10_000_000)
    """How large control.db may become; the oldest spans go first."""
    forward_endpoint: str = ""
    """Another OTLP collector that gets all telemetry too, over gRPC: host:port, or https://host:port for TLS."""
    max_runs: int = Field(default=20_000, ge=10_000)
    """How many runs are listed at most, the oldest go first. The agent sends the newest 10,000 when they are absent."""
    max_event_log_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """How much of the recent past the event stream can replay."""

    @field_validator("forward_endpoint")
    @classmethod
    def _check_forward_endpoint(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return value
        parts = urlsplit(value if "://" in value else f"http://{value}")
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.port or parts.path not in ("", "/"):
            raise ValueError("it must be host:port or https://host:port of a collector that speaks OTLP over gRPC")
        if parts.port == info.data.get("port") and parts.hostname in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("telemetry that the control plane passes on to itself would go round for ever")
        return f"{'https://' if parts.scheme == 'https' else ''}{parts.netloc}"
