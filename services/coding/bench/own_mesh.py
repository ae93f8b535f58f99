"""A mesh for a measurement: `waystation up` with this machine's models, in a data folder that is deleted afterwards."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Unavailable
from shared.settings import Settings

DOORS = ("CONTROL", "CONTROL_HTTP", "MODELS", "RAG", "CODING", "TOOLS", "AGENT")
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class Mesh:
    """A mesh that is up."""

    home: Path
    environ: dict[str, str]

    def address(self, service: str) -> str:
        """Where a process serves gRPC. Raises Unavailable when it does not."""
        try:
            return str(json.loads((self.home / "run" / f"{service}.json").read_text())["address"])
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable(f"{service} says nowhere where it serves: {error}.") from error


@contextmanager
def running_mesh(workflows: Mapping[str, str], **settings: str) -> Iterator[Mesh]:
    """Starts it at free ports, with `settings` as further WAYSTATION_ variables. Raises Unavailable when it stays down.

    It has documents of `workflows`, by file name. The data folder of the settings only lends its models.
    """
    models = Settings.load(os.environ).home.absolute() / "models"
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        home = Path(folder)
        (home / "models").symlink_to(models)
        (home / "workflows").mkdir()
        for name, text in workflows.items():
            (home / "workflows" / name).write_text(text, encoding="utf-8")
        ports = _free_ports()
        control = f"127.0.0.1:{ports['WAYSTATION_CONTROL_PORT']}"
        own = {**ports, "WAYSTATION_HOME": folder, "WAYSTATION_CONTROL_ADDRESS": control}
        mesh = Mesh(home, {**os.environ, **own, **settings})
        try:
            _waystation(mesh, START_TIMEOUT_S, "up", "--detach", "--timeout", str(START_TIMEOUT_S - 30))
            yield mesh
        finally:
            _waystation(mesh, STOP_TIMEOUT_S, "down")


def _free_ports() -> dict[str, str]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in DOORS]
        return {f"WAYSTATION_{name}_PORT": str(door.getsockname()[1]) for name, door in zip(DOORS, taken, strict=True)}


def _waystation(mesh: Mesh, timeout_s: float, *words: str) -> None:
    command = [sys.executable, "-m", "services.cli", *words, "--json"]
    done = subprocess.run(command, env=mesh.environ, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise Unavailable(f"`waystation {' '.join(words)}` failed: {done.stderr.strip() or done.stdout.strip()}")
