"""What `up` refuses, what it starts, and `down` when nothing is up."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.topology import topology_of
from services.cli.up_lock import holder, lock_path, up_lock
from tests.unit.services.cli.conftest import Waystation


def test_a_second_up_on_the_same_data_is_refused(waystation: Waystation, home: Path) -> None:
    with up_lock(home):
        result = waystation("up")
    assert result.exit_code == 1
    assert f"process {os.getpid()}" in result.stderr
    assert "waystation down" in result.stderr


def test_the_lock_is_free_again_when_its_holder_is_gone(home: Path) -> None:
    program = (
        "import os, pathlib, sys\nfrom services.cli.up_lock import up_lock\n"
        "with up_lock(pathlib.Path(sys.argv[1])):\n os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", program, str(home)], cwd=root, check=False)
    assert lock_path(home).read_text()
    assert holder(home) == 0
    with up_lock(home):
        assert holder(home) == os.getpid()


def test_a_taken_port_is_refused_with_holder_and_setting(
    waystation: Waystation, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("WAYSTATION_CODING_PORT", str(port))
        for name in ("CONTROL", "CONTROL_HTTP", "RAG", "MODELS"):
            monkeypatch.setenv(f"WAYSTATION_{name}_PORT", "0")
        result = waystation("up", "--json")
    error = json.loads(result.stdout)["error"]
    assert str(port) in error["message"] and f"process {os.getpid()}" in error["message"]
    assert "WAYSTATION_CODING_PORT" in error["remedy"]


def test_a_data_folder_that_cannot_be_written_is_refused(
    waystation: Waystation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("kept")
    monkeypatch.setenv("WAYSTATION_HOME", str(tmp_path / "file"))
    result = waystation("up", "--json")
    assert json.loads(result.stdout)["error"]["reason"] == "STORAGE_UNAVAILABLE"
    assert (tmp_path / "file").read_text() == "kept"


def test_down_with_nothing_up_says_so(waystation: Waystation) -> None:
    assert json.loads(waystation("down", "--json").stdout) == {"was_up": False, "pid": 0}


def test_without_model_files_the_models_process_is_left_out(home: Path) -> None:
    topology = topology_of({"WAYSTATION_HOME": str(home), "WAYSTATION_UI_ENABLED": "false"})
    assert [doors[0].service for doors in topology.doors] == ["control", "rag", "coding", "tools", "agent"]
    assert topology.missing_models


def test_with_models_elsewhere_no_file_is_missed(home: Path) -> None:
    topology = topology_of({"WAYSTATION_HOME": str(home), "WAYSTATION_MODEL_URL": "http://gpu.example:8000/v1"})
    assert "models" not in [doors[0].service for doors in topology.doors]
    assert topology.missing_models == ()
    assert topology.environ["WAYSTATION_MODEL_URL"] == "http://gpu.example:8000/v1"


def test_a_moved_port_is_told_to_everybody(home: Path) -> None:
    environ = {"WAYSTATION_HOME": str(home), "WAYSTATION_CONTROL_PORT": "9001", "WAYSTATION_MODELS_PORT": "9002"}
    told = topology_of(environ).environ
    assert told["WAYSTATION_CONTROL_ADDRESS"] == "127.0.0.1:9001"
    assert told["WAYSTATION_MODEL_URL"] == "http://127.0.0.1:9002/v1"
