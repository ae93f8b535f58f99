"""The command itself: help, unknown words, and every noun in its place."""

import importlib

import pytest

from services.cli.__main__ import COMMANDS
from tests.unit.services.cli.conftest import Waystation


def test_help_lists_every_command(waystation: Waystation) -> None:
    output = waystation("--help").stdout
    assert all(name in output for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_can_be_imported_and_has_help(name: str, waystation: Waystation) -> None:
    assert importlib.import_module(COMMANDS[name][0]).app
    assert waystation(name, "--help").exit_code == 0


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(waystation: Waystation) -> None:
    result = waystation("rout")
    assert result.exit_code == 2
    assert "route" in result.stderr


def test_a_bad_setting_is_named(waystation: Waystation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYSTATION_AGENT_PORT", "many")
    result = waystation("route", "what?")
    assert result.exit_code == 1
    assert "WAYSTATION_AGENT_PORT" in result.stderr
