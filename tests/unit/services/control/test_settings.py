"""The control plane's settings."""

import pytest

from services.control.settings import ControlSettings
from shared.errors import InvalidInput


def test_the_doors_are_the_documented_ones() -> None:
    settings = ControlSettings.load({})
    assert (settings.port, settings.http_port, settings.host) == (7400, 7480, "127.0.0.1")


def test_allowed_hosts_are_separated_by_commas() -> None:
    settings = ControlSettings.load({"WAYSTATION_CONTROL_ALLOWED_HOSTS": "control, ui.local,"})
    assert settings.allowed_hosts == ("control", "ui.local")


@pytest.mark.parametrize("name, value", [("LEASE_S", "0"), ("HTTP_PORT", "65536"), ("RETENTION_DAYS", "-1")])
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"WAYSTATION_CONTROL_{name}"):
        ControlSettings.load({f"WAYSTATION_CONTROL_{name}": value})
