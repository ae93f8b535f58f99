"""The tools service's settings."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from shared.settings import DEFAULT_DOORS, Settings


class ToolsSettings(Settings):
    """What the tools service needs to know."""

    section: ClassVar[str] = "tools"

    port: int = Field(default=DEFAULT_DOORS["tools"], ge=0, le=65535)
    folders: str = ""
    """Folders that the file and database tools may read, separated by colons; empty means `files` in the home."""
    fetch_hosts: str = ""
    """`host:port` pairs, separated by commas, that may be fetched though their addresses are internal."""
    max_steps: int = Field(default=6, ge=1, le=20)
    """Tool calls for one task."""

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that may be read."""
        named = tuple(Path(part).expanduser() for part in self.folders.split(":") if part.strip())
        return named or (self.home / "files",)

    @property
    def internal_hosts(self) -> frozenset[str]:
        """`host:port` pairs that may be fetched whatever their addresses."""
        return frozenset(part.strip().lower() for part in self.fetch_hosts.split(",") if part.strip())
