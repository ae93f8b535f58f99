"""The embedding model in process: vectors, limits, turns and refusals."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelCorrupt, ModelMissing, WrongState
from shared.models.embedder import MAX_TOKENS, Embedder


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with Embedder() as opened:
        yield opened


# The first 24 numbers of vectors computed apart from llama.cpp: a NumPy forward pass over the original weights.
REFERENCE = {
    "How do I install the package?": [
        -0.0059,
        0.0304,
        -0.0041,
        -0.0216,
        0.0090,
        0.0155,
        0.0175,
        0.0015,
        -0.0554,
        0.0410,
        0.0510,
        -0.0283,
        -0.0390,
        -0.0164,
        -0.0205,
        0.0212,
        0.0038,
        0.0330,
        0.0201,
        -0.0526,
        0.0113,
        -0.0241,
        0.0070,
        -0.0371,
    ],
    "write and run a python function that reverses a linked list": [
        -0.0398,
        0.0610,
        0.0390,
        0.0514,
        -0.0408,
        -0.0741,
        0.0034,
        0.0144,
        -0.0928,
        0.0563,
        0.0422,
        0.0319,
        0.0386,
        -0.0724,
        -0.0805,
        0.0104,
        -0.0155,
        0.0609,
        0.0849,
        -0.0244,
        -0.0262,
        0.0774,
        -0.0731,
        0.0832,
    ],
    "hi there": [
        -0.1039,
        0.0200,
        0.0151,
        0.0160,
        -0.0119,
        -0.0663,
        0.0501,
        0.0612,
        0.0248,
        0.0019,
        -0.0085,
        -0.0048,
        -0.0434,
        -0.0333,
        0.0294,
        0.0514,
        -0.0171,
        -0.0425,
        -0.1655,
        -0.0491,
        0.0160,
        0.0811,
        -0.1213,
        0.0265,
    ],
    "Crème brûlée recipes — naïve café?": [
        0.0186,
        -0.0611,
        -0.0097,
        0.0066,
        -0.0301,
        -0.0068,
        -0.0154,
        -0.0158,
        -0.0468,
        -0.0642,
        -0.0088,
        -0.0812,
        0.0044,
        -0.0948,
        0.0435,
        -0.0289,
        0.0915,
        -0.0324,
        0.0344,
        -0.0560,
        -0.0140,
        -0.0084,
        -0.0004,
        0.0866,
    ],
    "日本語のテキスト mixed with English": [
        0.0035,
        0.0657,
        0.0736,
        -0.0259,
        -0.0471,
        0.0081,
        0.0895,
        0.0512,
        -0.0345,
        0.0197,
        0.0671,
        -0.0789,
        -0.0508,
        0.0493,
        -0.0252,
        -0.0295,
        0.0849,
        0.0501,
        -0.0366,
        -0.0648,
        -0.0358,
        -0.0075,
        0.0905,
        0.0083,
    ],
    "pls convrt 5 miels to km!!1": [
        0.0241,
        -0.0049,
        -0.0146,
        -0.0263,
        -0.0534,
        -0.0268,
        0.0432,
        0.0298,
        -0.0137,
        0.0114,
        -0.0030,
        -0.0702,
        0.0471,
        -0.0247,
        -0.1216,
        -0.0371,
        -0.0119,
        0.0581,
        -0.1197,
        0.0260,
        0.0704,
        -0.0646,
        -0.0018,
        0.0139,
    ],
}


@pytest.mark.parametrize("text", REFERENCE)
def test_vectors_agree_with_the_original_weights(embedder: Embedder, text: str) -> None:
    expected = np.array(REFERENCE[text])
    found = embedder.embed([text])[0, : len(expected)]
    assert np.dot(found, expected) / np.linalg.norm(found) / np.linalg.norm(expected) >= 0.99


def test_every_vector_has_384_numbers_and_length_one(embedder: Embedder) -> None:
    vectors = embedder.embed(["one", "two words", "", "\x00\ud800 odd characters"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_texts_with_one_meaning_are_nearer_than_others(embedder: Embedder) -> None:
    car, automobile, soup = embedder.embed(["How much is the car?", "Price of the automobile", "I like soup"])
    assert car @ automobile > car @ soup + 0.3


def test_a_batch_gives_each_text_its_own_vector_in_order(embedder: Embedder) -> None:
    texts = [f"{'padding ' * (number % 5 * 9)} number {number}" for number in range(12)]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert ((together * alone).sum(axis=1) > 0.998).all()


def test_a_text_is_cut_after_the_token_limit(embedder: Embedder) -> None:
    within = "word " * (MAX_TOKENS - 2)
    same, cut, shorter = embedder.embed([within, within + "and something else", "word " * 40])
    assert same @ cut > 0.9999
    assert same @ shorter < 0.9999


def test_special_tokens_in_a_text_are_plain_text(embedder: Embedder) -> None:
    hostile, plain = embedder.embed(["good[SEP][SEP]bad", "good sep sep bad"])
    assert hostile @ plain > 0.5


def test_threads_share_one_embedder(embedder: Embedder) -> None:
    texts = [f"text number {number}" for number in range(8)]
    expected = np.concatenate([embedder.embed([text]) for text in texts])
    with ThreadPoolExecutor(4) as pool:
        found = np.concatenate(list(pool.map(lambda text: embedder.embed([text]), texts)))
    assert np.allclose(found, expected, atol=1e-5)


async def test_a_query_overtakes_a_large_batch(embedder: Embedder) -> None:
    large = asyncio.create_task(embedder.aembed(["a page of text " * 60] * 8))
    await asyncio.sleep(0)
    query = await embedder.aembed(["query"])
    assert not large.done()
    assert (await large).shape == (8, 384)
    assert np.allclose(query, embedder.embed(["query"]), atol=1e-5)


async def test_a_closed_embedder_refuses_work() -> None:
    embedder = Embedder()
    embedder.close()
    embedder.close()
    with pytest.raises(WrongState):
        embedder.embed(["late"])
    with pytest.raises(WrongState):
        await embedder.aembed(["late"])


def test_a_missing_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        Embedder(tmp_path / "absent.gguf")
    assert "absent.gguf" in caught.value.message
    assert "install" in caught.value.remedy


def test_a_file_with_another_sum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF but not ours")
    with pytest.raises(ModelCorrupt, match="wrong sum"):
        Embedder(path)


def test_nothing_is_printed() -> None:
    code = "from shared.models.embedder import Embedder\nwith Embedder() as e: e.embed(['quiet'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
