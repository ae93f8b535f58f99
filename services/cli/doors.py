"""Where each process listens, read from the same settings as the process itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, create_model

from shared.settings import DEFAULT_DOORS, Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class DoorSettings(Settings):
    """What the command needs to know of a process."""

    is_whole: ClassVar[bool] = False

    address: str = ""
    """Where clients find it, as host:port; empty means where it says it is, or at its port on this machine."""
    http_port: int = Field(default=7480, ge=0, le=65535)
    """The second door of the control plane."""


@dataclass(frozen=True)
class Door:
    """One listening port of a process."""

    service: str
    host: str
    port: int
    kind: Literal["grpc", "http"]
    setting: str
    """The environment variable that changes the port."""
    health_path: str = ""
    """For HTTP doors."""

    @property
    def address(self) -> str:
        """As host:port."""
        return f"{self.host}:{self.port}"


def door_settings(service: str, environ: Mapping[str, str]) -> DoorSettings:
    """The settings of a process, as far as the command needs them. Raises `InvalidInput` for a bad value."""
    port = (int, Field(default=DEFAULT_DOORS[service], ge=0, le=65535))
    model = create_model("DoorSettings", __base__=DoorSettings, port=port)
    model.section = service
    return model.load(environ)


def doors_of(service: str, environ: Mapping[str, str]) -> tuple[Door, ...]:
    """The doors of a process, its main one first."""
    settings = door_settings(service, environ)
    kind: Literal["grpc", "http"] = "http" if service == "models" else "grpc"
    variable = f"WAYSTATION_{service.upper()}_PORT"
    main = Door(service, settings.host, settings.port, kind, variable, "/health" if kind == "http" else "")
    if service != "control":
        return (main,)
    return main, Door(service, settings.host, settings.http_port, "http", "WAYSTATION_CONTROL_HTTP_PORT", "/api/health")


def ready_record(home: Path, service: str) -> dict[str, object]:
    """What the process says of itself once it serves: `pid` and `address`; empty when it does not serve."""
    try:
        record = json.loads((home / "run" / f"{service}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def address_of(service: str, environ: Mapping[str, str]) -> str:
    """Where a client finds the process, as host:port."""
    settings = door_settings(service, environ)
    if settings.address:
        return settings.address
    announced = ready_record(settings.home, service).get("address")
    return str(announced) if announced else f"{settings.host}:{settings.port}"


def is_local_models(environ: Mapping[str, str]) -> bool:
    """Whether the chat models are to come from this machine's own `models` process."""
    settings = door_settings("models", environ)
    if settings.model_url == Settings.model_fields["model_url"].default:
        return True
    url = urlsplit(settings.model_url)
    return url.hostname in LOOPBACK and url.port == settings.port
