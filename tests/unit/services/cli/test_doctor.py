"""The doctor: what is checked, and the exit code."""

import json
import socket
from pathlib import Path

import pytest

from services.cli.checks import Verdict, check_data_folder, check_ports
from tests.unit.services.cli.conftest import Waystation


def test_each_check_has_a_verdict_and_the_bad_ones_a_remedy(waystation: Waystation) -> None:
    checks = json.loads(waystation("doctor", "--json").stdout)
    assert {"Python", "SQLite", "data folder", "disk", "port 7410", "sandbox"} <= {check["name"] for check in checks}
    assert all(check["remedy"] for check in checks if check["verdict"] == "bad")


def test_a_taken_port_is_bad_and_names_its_holder(
    waystation: Waystation, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("WAYSTATION_RAG_PORT", str(port))
        result = waystation("doctor", "--json")
    check = next(check for check in json.loads(result.stdout) if check["name"] == f"port {port}")
    assert check["verdict"] == "bad"
    assert "WAYSTATION_RAG_PORT" in check["remedy"]
    assert result.exit_code == 1


def test_a_port_of_our_own_is_well(home: Path) -> None:
    checks = check_ports(home, {"WAYSTATION_RAG_PORT": "0"})
    assert next(check for check in checks if check.name == "port 0").verdict is Verdict.OK


def test_a_data_folder_that_cannot_be_made_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = check_data_folder(tmp_path / "file" / "home")
    assert check.verdict is Verdict.BAD
    assert "WAYSTATION_HOME" in check.remedy
