"""A GGUF file as chat model: files that are none. What a real one answers is measured in docs/router.md."""

from pathlib import Path

import pytest

from services.agent.router.gguf import GgufChatModel
from shared.errors import ModelCorrupt, ModelMissing


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"absent\.gguf"):
        GgufChatModel(tmp_path / "absent.gguf")


def test_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and nothing more")
    with pytest.raises(ModelCorrupt, match=r"broken\.gguf"):
        GgufChatModel(path)
