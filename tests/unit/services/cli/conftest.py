"""The command run in-process against fake peers, in an empty data folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from shared.pb import agent_v1, rag_v1
from tests.fakes.agent_service import FakeAgent, serving
from tests.fakes.rag_service import FakeRag

Waystation = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and a working folder without settings."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("WAYSTATION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def waystation(home: Path) -> Waystation:
    """Runs `waystation` with the given words."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """A fake agent that the command finds."""
    fake = FakeAgent()
    with serving(agent_v1.add_AgentServiceServicer_to_server, fake) as address:
        monkeypatch.setenv("WAYSTATION_AGENT_ADDRESS", address)
        yield fake


@pytest.fixture
def rag(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRag]:
    """A fake rag service that the command finds."""
    fake = FakeRag()
    with serving(rag_v1.add_RagServiceServicer_to_server, fake) as address:
        monkeypatch.setenv("WAYSTATION_RAG_ADDRESS", address)
        yield fake
