"""The dashboard as `waystation up` runs it: the server that `make ui-build` built, on this machine's Node.js."""

import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx
from pydantic import Field

from services.cli.child import ServiceSpec
from services.cli.doors import Door
from shared.settings import Settings

NAME = "ui"
OLDEST_NODE = 20
PROBE_TIMEOUT_S = 2.0
VERSION_TIMEOUT_S = 10.0
ROOT = Path(__file__).parents[2] / "ui_service"


class DashboardSettings(Settings):
    """What the command needs to know of the dashboard; its server reads the rest itself."""

    section: ClassVar[str] = "ui"
    is_whole: ClassVar[bool] = False

    port: int = Field(default=3000, ge=1, le=65535)
    enabled: bool = True
    """Whether `up` starts it."""
    control_url: str = ""
    """Where its server finds control's HTTP API; empty means on this machine."""


@dataclass(frozen=True)
class Dashboard:
    """A built dashboard that can be started."""

    folder: Path
    """The build itself, not the link to the newest: building again does not disturb a server that runs."""
    door: Door
    control_url: str

    def spec(self, environ: Mapping[str, str]) -> ServiceSpec:
        """What the supervisor is to run."""
        told = {
            **environ,
            "NODE_ENV": "production",
            "HOSTNAME": self.door.host,
            "PORT": str(self.door.port),
            "WAYSTATION_CONTROL_URL": self.control_url,
            "WAYSTATION_UI_TETHERED": "1",
        }
        return ServiceSpec(NAME, ("node", str(self.folder / "serve.mjs")), _probe_of(self.door), told)


def dashboard_of(environ: Mapping[str, str], control: Door, root: Path = ROOT) -> tuple[Dashboard | None, str]:
    """The dashboard, or None and why there is none; that is empty when nobody wants one.

    `control` is control's HTTP door. Raises `InvalidInput` for a bad setting.
    """
    settings = DashboardSettings.load(environ)
    if not settings.enabled:
        return None, ""
    build = root / "dist" / "current"
    if not (build / "serve.mjs").is_file():
        return None, "The dashboard is not built: `make ui-build` builds it. Going on without it."
    if _node_major() < OLDEST_NODE:
        return None, f"The dashboard needs Node.js {OLDEST_NODE} or newer: install it. Going on without it."
    door = Door(NAME, settings.host, settings.port, "http", "WAYSTATION_UI_PORT", "/health")
    return Dashboard(build.resolve(), door, settings.control_url or f"http://{control.address}"), ""


def _node_major() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    major = done.stdout.strip().removeprefix("v").split(".")[0]
    return int(major) if major.isdigit() else 0


def _probe_of(door: Door) -> Callable[[int], Awaitable[bool]]:
    async def is_healthy(pid: int) -> bool:
        # a proxy named in the environment is not meant for this machine
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as client:
            try:
                answer = await client.get(f"http://{door.address}{door.health_path}", headers={"Host": "127.0.0.1"})
                return answer.status_code == httpx.codes.OK and answer.json().get("pid") == pid
            except (httpx.HTTPError, ValueError):
                return False

    return is_healthy
