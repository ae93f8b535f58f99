import math
from pathlib import Path

import pytest

from services.rag.bench.beir import ndcg, read_folder
from services.rag.bench.measure import measured, percentile
from services.rag.bench.retrieval import OWN_DATA
from shared.errors import InvalidInput


def test_ndcg_of_known_rankings() -> None:
    grades = {"a": 2, "b": 1}
    ideal = 2 + 1 / math.log2(3)
    assert ndcg(["a", "b"], grades) == 1.0
    assert ndcg(["b", "a"], grades) == pytest.approx((1 + 2 / math.log2(3)) / ideal)
    assert ndcg(["x"] * 10 + ["a"], grades) == 0.0
    assert ndcg([], {}) == 0.0


def test_our_own_set_is_whole() -> None:
    labelled = read_folder(OWN_DATA)
    assert len(labelled.corpus.splitlines()) >= 40 and len(labelled.queries) >= 40 and labelled.unanswerable


@pytest.mark.parametrize("header", ["query-id\tcorpus-id\tscore\n", ""])
def test_grades_are_read_with_and_without_a_header(tmp_path: Path, header: str) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("")
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "Why?"}\n{"_id": "2", "text": "How?"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text(header + "1\td1\t2\n2\td2\t1\n")
    assert read_folder(tmp_path).grades == {"1": {"d1": 2}, "2": {"d2": 1}}


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"corpus\.jsonl"):
        read_folder(tmp_path)


def test_a_row_has_its_peer_and_their_ratio() -> None:
    row = measured("x", 2.0, "ms", "peer", 4.0, 7)
    assert (row.ratio, row.peer_value, row.n) == (0.5, 4.0, 7)
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0 and percentile([1.0], 0.95) == 1.0
