"""A whole mesh for tests: real processes under the supervisor, in a data folder and at ports of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kept_homes import kept_if_failing

ROOT = Path(__file__).parents[1]
DOORS = ("CONTROL", "CONTROL_HTTP", "MODELS", "RAG", "CODING", "TOOLS", "AGENT", "UI")


@dataclass
class Mesh:
    """A mesh in a data folder, at free ports."""

    home: Path
    environ: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `waystation` with these words."""
        command = [sys.executable, "-m", "services.cli", *words]
        return subprocess.run(command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Begin `waystation` with these words; its output is read by the caller."""
        command = [sys.executable, "-m", "services.cli", *words]
        return subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, text=True)

    def answer(self, *words: str) -> dict[str, Any]:
        """Run `waystation … --json` and return its document; fails with what it said."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, (done.stdout, done.stderr, self.logs())
        return dict(json.loads(done.stdout))

    def record(self, service: str) -> dict[str, Any]:
        """What a process says of itself; empty while it does not serve."""
        try:
            return dict(json.loads((self.home / "run" / f"{service}.json").read_text()))
        except FileNotFoundError:
            return {}

    def logs(self) -> str:
        """The end of each process's log."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-2_000:]}" for path in (self.home / "logs").glob("*.log"))


@contextmanager
def scripted_mesh(
    folder: Path, script: Sequence[Mapping[str, object]], settings: Mapping[str, str] | None = None
) -> Iterator[Mesh]:
    """A mesh that is up, whose chat model answers by `script`."""
    path = folder / "script.json"
    path.write_text(json.dumps(script))
    scripted = {"WAYSTATION_MODELS_BACKEND": "scripted", "WAYSTATION_MODELS_SCRIPT": str(path)}
    settings = {**scripted, **(settings or {})}
    with prepared_mesh(folder / "home", settings) as mesh:
        started = mesh.run("up", "--detach", "--json")
        assert started.returncode == 0, (started.stdout, started.stderr, mesh.logs())
        yield mesh


@contextmanager
def prepared_mesh(home: Path, settings: Mapping[str, str]) -> Iterator[Mesh]:
    """A mesh that is not up yet; it is down at the end. `settings` are further WAYSTATION_ variables."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in DOORS]
        ports = {f"WAYSTATION_{name}_PORT": str(door.getsockname()[1]) for name, door in zip(DOORS, taken, strict=True)}
    mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
    own = {"WAYSTATION_HOME": str(home), "WAYSTATION_UI_ENABLED": "false"}
    mesh = Mesh(home, {**mine, **ports, **own, **settings})
    with kept_if_failing(home):
        try:
            yield mesh
        finally:
            mesh.run("down")
