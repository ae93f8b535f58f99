"""Which processes make the mesh on this machine, and the environment that makes them find each other."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.child import ServiceSpec
from services.cli.dashboard import NAME as DASHBOARD
from services.cli.dashboard import Dashboard, dashboard_of
from services.cli.doors import Door, door_settings, doors_of, is_local_models
from services.cli.health import probe_of, registered_probe_of
from services.cli.preflight import missing_chat_models
from shared.models.manifest import load_manifest
from shared.settings import Settings

CAPABILITY_SERVICES = ("rag", "coding", "tools")
SCRIPTED_BACKEND = "scripted"


@dataclass(frozen=True)
class Topology:
    """What `up` starts."""

    home: Path
    doors: tuple[tuple[Door, ...], ...]
    """The doors of each process, in the order of starting."""
    missing_models: tuple[str, ...]
    """Chat models whose files are not there."""
    environ: Mapping[str, str]
    """For all processes."""
    dashboard: Dashboard | None
    without_dashboard: str
    """Why there is no dashboard; empty when there is one, or nobody wants one."""

    @property
    def all_doors(self) -> tuple[Door, ...]:
        """The doors of all processes."""
        return tuple(door for doors in self.doors for door in doors)

    def specs(self, parent: int) -> list[ServiceSpec]:
        """What the supervisor, whose process id is `parent`, is to run."""
        specs = [
            ServiceSpec(
                name=doors[0].service,
                command=(sys.executable, "-m", "services.cli.tethered", str(parent), f"services.{doors[0].service}"),
                is_healthy=self._probe_of(doors),
                environ=self.environ,
            )
            for doors in self.doors
            if doors[0].service != DASHBOARD
        ]
        return specs + ([self.dashboard.spec(self.environ)] if self.dashboard else [])

    def _probe_of(self, doors: tuple[Door, ...]) -> Callable[[int], Awaitable[bool]]:
        control = self.environ.get("WAYSTATION_CONTROL_ADDRESS", "")
        if control and doors[0].service in CAPABILITY_SERVICES:
            return registered_probe_of(self.home, doors, control)
        return probe_of(self.home, doors)


def topology_of(environ: Mapping[str, str]) -> Topology:
    """Work out what to start. Raises `InvalidInput` for a bad setting."""
    home = door_settings("agent", environ).home.absolute()
    is_local = is_local_models(environ)
    is_scripted = environ.get("WAYSTATION_MODELS_BACKEND") == SCRIPTED_BACKEND
    missing = tuple(missing_chat_models(home)) if is_local and not is_scripted else ()
    has_models = is_local and (is_scripted or len(missing) < _chat_model_count())
    names = ("control", *(("models",) if has_models else ()), *CAPABILITY_SERVICES, "agent")
    doors = tuple(doors_of(name, environ) for name in names)
    dashboard, why_not = dashboard_of(environ, doors[0][1])
    all_doors = (*doors, (dashboard.door,)) if dashboard else doors
    return Topology(home, all_doors, missing, _shared_environ(home, environ), dashboard, why_not)


def _chat_model_count() -> int:
    return sum(not model.is_bundled for model in load_manifest())


def _shared_environ(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Tell every process where the others are, when a port was moved and their addresses were not."""
    control, models = doors_of("control", environ)[0], doors_of("models", environ)[0]
    settings = door_settings("agent", environ)
    shared = {**environ, "WAYSTATION_HOME": str(home)}
    if settings.control_address == Settings.model_fields["control_address"].default:
        shared["WAYSTATION_CONTROL_ADDRESS"] = control.address
    if settings.model_url == Settings.model_fields["model_url"].default:
        shared["WAYSTATION_MODEL_URL"] = f"http://{models.address}/v1"
    return shared
