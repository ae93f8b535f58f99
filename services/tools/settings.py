"""The tools service's settings."""

import re
from pathlib import Path
from typing import Annotated, ClassVar
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator

from shared.settings import DEFAULT_DOORS, Settings

_HOST_AND_PORT = re.compile(r"[^\s:/@]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ToolsSettings(Settings):
    """What the tools service needs to know."""

    section: ClassVar[str] = "tools"

    port: int = Field(default=DEFAULT_DOORS["tools"], ge=0, le=65535)
    folders: Annotated[tuple[Path, ...], BeforeValidator(_split)] = ()
    """Folders that the file and database tools may read, separated by commas; empty means `files` in the home."""
    fetch_ports: Annotated[frozenset[int], BeforeValidator(_split)] = frozenset({80, 443})
    """Ports that may be fetched from, separated by commas."""
    fetch_hosts: Annotated[frozenset[str], BeforeValidator(_split)] = frozenset()
    """`host:port` pairs, separated by commas, that may be fetched whatever their addresses and ports."""
    time_zone: str = ""
    """The zone that "today" and "now" mean, such as Europe/Paris; empty means the machine's."""
    max_steps: int = Field(default=6, ge=1, le=20)
    """Tool calls for one task."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that may be read."""
        return self.folders or (self.home / "files",)

    @field_validator("fetch_hosts")
    @classmethod
    def _check_hosts(cls, hosts: frozenset[str]) -> frozenset[str]:
        for host in hosts:
            if not _HOST_AND_PORT.fullmatch(host):
                raise ValueError(f"{host!r} is not host:port")
        return hosts

    @field_validator("time_zone")
    @classmethod
    def _check_zone(cls, zone: str) -> str:
        if zone:
            try:
                ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"no time zone is named {zone!r}") from None
        return zone
