"""Whether `up` has a dashboard to start, and how it is told where things are."""

from pathlib import Path

import pytest

from services.cli import dashboard
from services.cli.dashboard import dashboard_of
from services.cli.doors import Door

CONTROL = Door("control", "127.0.0.1", 9480, "http", "WAYSTATION_CONTROL_HTTP_PORT", "/api/health")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with a build in it."""
    build = tmp_path / "dist" / "build-1"
    build.mkdir(parents=True)
    (build / "serve.mjs").touch()
    (tmp_path / "dist" / "current").symlink_to("build-1")
    return tmp_path


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "_node_major", lambda: 20)


def test_one_that_is_not_built_is_said_with_its_remedy(tmp_path: Path) -> None:
    found, why_not = dashboard_of({}, CONTROL, tmp_path)
    assert found is None
    assert "make ui-build" in why_not


def test_one_that_nobody_wants_is_left_out_without_a_word(built: Path) -> None:
    assert dashboard_of({"WAYSTATION_UI_ENABLED": "false"}, CONTROL, built) == (None, "")


def test_an_old_node_is_said(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "_node_major", lambda: 18)
    found, why_not = dashboard_of({}, CONTROL, built)
    assert found is None
    assert "Node.js 20" in why_not


def test_its_server_is_told_its_door_and_where_control_is(built: Path) -> None:
    found, _ = dashboard_of({"WAYSTATION_UI_PORT": "9300"}, CONTROL, built)
    assert found
    spec = found.spec({"PATH": "/bin"})
    assert (
        spec.environ.items()
        >= {
            "PATH": "/bin",
            "PORT": "9300",
            "HOSTNAME": "127.0.0.1",
            "WAYSTATION_CONTROL_URL": "http://127.0.0.1:9480",
            "WAYSTATION_UI_TETHERED": "1",
        }.items()
    )
    # the build itself: another one may take the link's place while this one runs
    assert spec.command == ("node", str(built.resolve() / "dist" / "build-1" / "serve.mjs"))


def test_control_elsewhere_goes_before_the_one_here(built: Path) -> None:
    found, _ = dashboard_of({"WAYSTATION_CONTROL_URL": "http://control.example:7480"}, CONTROL, built)
    assert found and found.control_url == "http://control.example:7480"
