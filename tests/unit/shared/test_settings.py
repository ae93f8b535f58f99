"""Settings: where a value is looked for, and what a bad one does."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from shared.errors import InvalidInput
from shared.settings import Settings


class WordSettings(Settings):
    """Settings with a section whose name has a hyphen."""

    section: ClassVar[str] = "word-count"

    most_words: int = Field(default=10, ge=1)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "waystation.toml"
    path.write_text('log_level = "DEBUG"\nport = 1\n[word-count]\nport = 2\nmost_words = 5\n')
    return path


def test_everything_has_a_default_and_doors_are_on_loopback() -> None:
    settings = WordSettings.load({"WAYSTATION_CONFIG": "/dev/null"})
    assert (settings.host, settings.port, settings.most_words) == ("127.0.0.1", 0, 10)
    assert settings.home.name == "waystation"


def test_the_nearest_place_wins(toml: Path) -> None:
    environ = {"WAYSTATION_CONFIG": str(toml)}
    assert WordSettings.load(environ).port == 2
    assert WordSettings.load(environ | {"WAYSTATION_PORT": "3"}).port == 3
    assert WordSettings.load(environ | {"WAYSTATION_PORT": "3", "WAYSTATION_WORD_COUNT_PORT": "4"}).port == 4
    assert WordSettings.load(environ).log_level == "DEBUG"


def test_the_file_in_the_working_folder_is_found(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml.parent)
    assert WordSettings.load({}).most_words == 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAYSTATION_PORT", "65536"),
        ("WAYSTATION_PORT", "-1"),
        ("WAYSTATION_PORT", "http"),
        ("WAYSTATION_PORT", ""),
        ("WAYSTATION_HOME", ""),
        ("WAYSTATION_LOG_LEVEL", "LOUD"),
        ("WAYSTATION_WORD_COUNT_MOST_WORDS", "0"),
    ],
)
def test_a_bad_variable_names_itself(variable: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"^Setting {variable} is bad") as caught:
        WordSettings.load({variable: value})
    assert caught.value.metadata == {"setting": variable}


def test_a_bad_value_in_the_file_names_its_key(toml: Path) -> None:
    toml.write_text("[word-count]\nmost_words = 0\n")
    with pytest.raises(InvalidInput, match=r"word-count\.most_words in waystation\.toml"):
        WordSettings.load({"WAYSTATION_CONFIG": str(toml)})


@pytest.mark.parametrize(
    ("content", "named", "remedy"),
    [
        ("[word-count]\nmost_wrods = 5\n", "word-count.most_wrods", "Is it most_words?"),
        ("[word-count]\nprot = 5\n", "word-count.prot", "Is it port?"),
        ("log_levle = 'INFO'\n", "log_levle", "Is it log_level?"),
        ("most_words = 5\n", "most_words", "There are advertise_host, "),
        ("word-count = 5\n", "word-count", "There are advertise_host, "),
    ],
)
def test_an_unknown_key_stops_the_start_and_names_itself(toml: Path, content: str, named: str, remedy: str) -> None:
    toml.write_text(content)
    with pytest.raises(InvalidInput, match=f"no setting {named},") as caught:
        WordSettings.load({"WAYSTATION_CONFIG": str(toml)})
    assert caught.value.remedy.startswith(remedy)


def test_what_other_processes_are_told_is_not_our_concern(toml: Path) -> None:
    toml.write_text("[word-count]\naddress = 'a:1'\n[agent]\nmax_hops = 2\n[weather]\ncity = 'Rome'\n")
    assert WordSettings.load({"WAYSTATION_CONFIG": str(toml)}).most_words == 10


@pytest.mark.parametrize("content", [b"port = = 1", b"\xff\xfe\x00"], ids=["no TOML", "no text"])
def test_a_file_that_is_not_toml_stops_the_start(toml: Path, content: bytes) -> None:
    toml.write_bytes(content)
    with pytest.raises(InvalidInput, match="cannot be read") as caught:
        WordSettings.load({"WAYSTATION_CONFIG": str(toml)})
    assert caught.value.metadata == {"setting": str(toml)}


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        WordSettings.load({"WAYSTATION_CONFIG": str(tmp_path / "absent.toml")})


def test_settings_do_not_change_and_do_not_show_the_key() -> None:
    settings = WordSettings.load({"WAYSTATION_MODEL_API_KEY": "sk-canary"})
    assert settings.model_api_key.get_secret_value() == "sk-canary"
    assert "sk-canary" not in f"{settings!r} {settings} {settings.model_dump()}"
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_spans_go_to_the_control_plane_unless_told_otherwise() -> None:
    assert WordSettings(control_address="c:1").spans_endpoint == "c:1"
    assert WordSettings(control_address="c:1", otlp_endpoint="o:2").spans_endpoint == "o:2"
    assert WordSettings(control_address="").spans_endpoint == ""
