"""Which router the settings open, and what happens when its model is not there."""

import logging
from pathlib import Path

import pytest

from services.agent.router import opening
from services.agent.router.generative import GenerativeRouter
from services.agent.router.opening import VECTORS_FILE, open_router
from shared.capability import Descriptor
from shared.errors import ModelMissing
from tests.fakes.chat import ScriptedChatModel

SERVICE = Descriptor("weather", "Forecasts.", ("weather",), ("Will it rain in Paris?",))


async def test_embedding_router_remembers_vectors_in_the_folder(tmp_path: Path) -> None:
    with open_router("embedding", tmp_path) as router:
        await router.update([SERVICE])
        assert (await router.recommend("rain in Paris?")).router == "embedding"
    assert (tmp_path / VECTORS_FILE).exists()


async def test_heuristic_router_leaves_no_file(tmp_path: Path) -> None:
    with open_router("heuristic", tmp_path) as router:
        await router.update([SERVICE])
        assert (await router.recommend("rain in Paris?")).router == "heuristic"
    assert not (tmp_path / VECTORS_FILE).exists()


async def test_generative_router_needs_a_chat_model(tmp_path: Path) -> None:
    with open_router("generative", tmp_path, ScriptedChatModel([])) as router:
        assert isinstance(router, GenerativeRouter)


async def test_without_the_embedding_model_the_heuristic_router_steps_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise ModelMissing("The embedding model is not there.", remedy="Install again.")

    monkeypatch.setattr(opening, "Embedder", missing)
    with caplog.at_level(logging.WARNING), open_router("embedding", tmp_path) as router:
        await router.update([SERVICE])
        assert (await router.recommend("rain in Paris?")).router == "heuristic"
    assert "Install again." in caplog.text
