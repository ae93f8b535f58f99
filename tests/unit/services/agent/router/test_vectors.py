"""The cache of sentence vectors: in memory, on disk, and when the disk lies."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.agent.router.vectors import CachedVectors, NoVectors
from shared.errors import WrongState


class CountingEmbedder:
    """Gives each text a vector by its length, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


async def test_texts_are_embedded_once_and_come_in_order() -> None:
    embedder = CountingEmbedder()
    vectors = CachedVectors(embedder)
    await vectors.of_examples(["a", "bbb", "a"])
    found = await vectors.of_examples(["cc", "bbb", "a"])
    assert found[:, 0].tolist() == [2, 3, 1]
    assert embedder.asked == ["a", "bbb", "cc"]


async def test_what_is_out_of_use_is_forgotten() -> None:
    embedder = CountingEmbedder()
    vectors = CachedVectors(embedder)
    for texts in (["a", "bbb"], ["a"], ["bbb"]):
        await vectors.of_examples(texts)
    assert embedder.asked == ["a", "bbb", "bbb"]


async def test_second_start_embeds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "vectors.npz"
    first = await CachedVectors(CountingEmbedder(), path, "sum").of_examples(["a", "bbb"])
    again = CountingEmbedder()
    second = await CachedVectors(again, path, "sum").of_examples(["bbb", "a"])
    assert not again.asked
    assert np.array_equal(second, first[::-1])
    assert [file.name for file in path.parent.iterdir()] == ["vectors.npz"]


async def test_vectors_of_another_model_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npz"
    await CachedVectors(CountingEmbedder(), path, "old").of_examples(["a"])
    embedder = CountingEmbedder()
    await CachedVectors(embedder, path, "new").of_examples(["a"])
    assert embedder.asked == ["a"]


@pytest.mark.parametrize("damage", [b"", b"not a zip", b"truncated"])
async def test_damaged_file_is_made_again(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "vectors.npz"
    await CachedVectors(CountingEmbedder(), path, "sum").of_examples(["a"])
    path.write_bytes(path.read_bytes()[:-40] if damage == b"truncated" else damage)
    with caplog.at_level(logging.WARNING):
        await CachedVectors(CountingEmbedder(), path, "sum").of_examples(["a"])
    assert "made again" in caplog.text
    healed = CountingEmbedder()
    await CachedVectors(healed, path, "sum").of_examples(["a"])
    assert not healed.asked


async def test_folder_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        found = await CachedVectors(CountingEmbedder(), tmp_path / "file" / "vectors.npz", "sum").of_examples(["a"])
    assert found.tolist() == [[1, 1]]
    assert "cannot be kept" in caplog.text


async def test_no_vectors_have_no_dimension() -> None:
    assert (await NoVectors().of_examples(["a", "b"])).shape == (2, 0)
    assert (await NoVectors().of_query("a")).shape == (1, 0)


async def test_an_expected_query_is_embedded_once_and_forgotten() -> None:
    embedder = CountingEmbedder()
    vectors = CachedVectors(embedder)
    vectors.expect_query("hello")
    vectors.expect_query("hello")
    assert (await vectors.of_query("hello")).tolist() == [[5.0, 1.0]]
    assert embedder.asked == ["hello"]
    await vectors.of_query("hello")
    assert embedder.asked == ["hello"] * 2


async def test_what_is_expected_and_never_asked_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.agent.router.vectors.MAX_EXPECTED", 2)
    embedder = CountingEmbedder()
    vectors = CachedVectors(embedder)
    for number in range(3):
        vectors.expect_query(f"query {number}")
    await asyncio.sleep(0)  # they begin
    await vectors.of_query("query 0")
    assert sorted(embedder.asked) == ["query 0", "query 0", "query 1", "query 2"]


async def test_a_failure_of_an_expected_query_is_heard_by_who_asks() -> None:
    class Failing(CountingEmbedder):
        async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            raise WrongState("closed")

    vectors = CachedVectors(Failing())
    vectors.expect_query("hello")
    with pytest.raises(WrongState):
        await vectors.of_query("hello")
