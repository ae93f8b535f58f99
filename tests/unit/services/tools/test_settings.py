"""The settings of the tools service; a bad value names itself."""

from pathlib import Path

import pytest

from services.tools.settings import ToolsSettings
from shared.errors import InvalidInput


def test_the_default_folder_is_one_of_its_own(tmp_path: Path) -> None:
    settings = ToolsSettings.load({"WAYSTATION_HOME": str(tmp_path)})
    assert settings.roots == (tmp_path / "files",)
    assert settings.fetch_hosts == frozenset()
    assert settings.fetch_ports == {80, 443}


def test_lists_are_separated_by_commas() -> None:
    settings = ToolsSettings.load(
        {
            "WAYSTATION_TOOLS_FOLDERS": "/data/a, /data/b",
            "WAYSTATION_TOOLS_FETCH_HOSTS": "intranet:8080, [::1]:80",
            "WAYSTATION_TOOLS_FETCH_PORTS": "443",
        }
    )
    assert settings.roots == (Path("/data/a"), Path("/data/b"))
    assert settings.fetch_hosts == {"intranet:8080", "[::1]:80"}
    assert settings.fetch_ports == {443}


@pytest.mark.parametrize(
    "name, value",
    [
        ("WAYSTATION_TOOLS_FETCH_HOSTS", "intranet"),
        ("WAYSTATION_TOOLS_FETCH_HOSTS", "http://intranet:80"),
        ("WAYSTATION_TOOLS_FETCH_PORTS", "http"),
        ("WAYSTATION_TOOLS_TIME_ZONE", "Europe/Narnia"),
        ("WAYSTATION_TOOLS_MAX_STEPS", "0"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        ToolsSettings.load({name: value})
