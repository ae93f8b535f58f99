"""A real agent's file is backed up and guarded while the agent lives, and harmed between two of its lives."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = 4096
START_S = 60


@dataclass
class AgentHome:
    """A data folder, and lives of an agent on it: without control plane, services and model."""

    home: Path

    @property
    def path(self) -> Path:
        """The agent's file."""
        return self.home / "agent" / "agent.db"

    @property
    def environ(self) -> dict[str, str]:
        """For all processes."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith("WAYSTATION_")}
        return mine | {
            "WAYSTATION_HOME": str(self.home),
            "WAYSTATION_CONTROL_ADDRESS": "",
            "WAYSTATION_AGENT_PORT": "0",
            "WAYSTATION_AGENT_ROUTER": "heuristic",
            "WAYSTATION_MODEL_URL": "http://127.0.0.1:9/v1",
        }

    @contextmanager
    def agent(self, *, is_killed: bool = False) -> Iterator["subprocess.Popen[str]"]:
        """One life of an agent that serves; it is told to stop at the end, or killed."""
        process = self.start()
        try:
            until = time.monotonic() + START_S
            while self.record().get("pid") != process.pid:
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < until
                time.sleep(0.02)  # another process gives no event to wait for
            yield process
        finally:
            process.kill() if is_killed else process.terminate()
            process.communicate(timeout=30)

    def start(self) -> "subprocess.Popen[str]":
        """Begin to start an agent."""
        command = [sys.executable, "-m", "services.agent"]
        return subprocess.Popen(command, cwd=ROOT, env=self.environ, stderr=subprocess.PIPE, text=True)

    def record(self) -> dict[str, Any]:
        """What the agent says of itself while it serves."""
        path = self.home / "run" / "agent.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def waystation(self, *words: str) -> Any:
        """The JSON document that the command prints."""
        command = [sys.executable, "-m", "services.cli", *words, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)

    def ask(self, query: str) -> str:
        """Ask and wait for the end, which may be a failure, since there is no model; returns the run's id."""
        self.waystation("ask", query)
        return str(self.waystation("runs", "list", "--limit", "1")["runs"][0]["run_id"])

    def run(self, run_id: str) -> Any:
        """The run as the agent shows it."""
        return self.waystation("runs", "show", run_id)

    def refusal(self) -> str:
        """Start an agent that must not come up; returns what it says."""
        process = self.start()
        said = process.communicate(timeout=START_S)[1]
        assert process.returncode == 1
        return said


def noise_in_the_middle(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(path.stat().st_size // PAGE // 2 * PAGE)
        file.write(random.Random(1).randbytes(PAGE))


def no_content(path: Path) -> None:
    path.write_bytes(b"")


@pytest.fixture
def home(tmp_path: Path) -> AgentHome:
    return AgentHome(tmp_path)


def test_a_backup_is_made_and_nobody_else_gets_in_while_the_agent_lives(home: AgentHome) -> None:
    with home.agent() as process:
        run_id = home.ask("first")
        backup = home.waystation("backup", "create")
        assert backup["facts"]["runs"] == 1
        assert home.waystation("backup", "verify") == [{"name": backup["name"], "problems": [], "damage": []}]
        assert f"is in use by process {process.pid}" in home.refusal()
        assert home.waystation("backup", "restore")["error"]["reason"] == "STORAGE_UNAVAILABLE"
        later = home.ask("second")
    repair = home.waystation("backup", "restore", backup["name"])
    assert {run["run_id"] for run in repair["lost"]} == {later}
    with home.agent():
        assert home.run(run_id)["query"] == "first"
        assert home.run(later)["error"]["reason"] == "NOT_FOUND"


@pytest.mark.parametrize("harm", [noise_in_the_middle, no_content])
def test_a_harmed_file_is_put_right_at_the_next_start(home: AgentHome, harm: Callable[[Path], None]) -> None:
    with home.agent():  # its clean end makes a backup
        run_id = home.ask("first")
        truth = home.run(run_id)
    harm(home.path)
    with home.agent():
        assert home.run(run_id) == truth
        kinds = [event["kind"] for event in home.waystation("backup", "list")["events"]]
        assert kinds[:2] in (["corrupt", "salvaged"], ["corrupt", "restored"])
        assert home.ask("second") != run_id
    assert len(list(home.path.parent.glob("agent.db.corrupt-*Z"))) == 1


def test_after_a_kill_the_file_is_served_as_it_was_left(home: AgentHome) -> None:
    with home.agent(is_killed=True):
        run_id = home.ask("first")
        truth = home.run(run_id)
    with home.agent():
        assert home.run(run_id) == truth
        assert home.waystation("backup", "list")["events"] == []


def test_an_older_copy_is_refused_until_it_is_accepted(home: AgentHome) -> None:
    with home.agent():
        run_id = home.ask("first")
    older = home.path.read_bytes()
    with home.agent():
        home.ask("second")
    home.path.write_bytes(older)
    said = home.refusal()
    assert "an older copy was put back" in said and "waystation backup accept" in said
    assert home.path.read_bytes() == older
    assert home.waystation("backup", "accept")["generation"] == 2
    with home.agent():
        assert home.run(run_id)["query"] == "first"
