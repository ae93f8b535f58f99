import numpy as np
import pytest

from services.rag.index import Change, Scope
from services.rag.vector_memory import CollectionVectors, VectorMemory

AXES = np.eye(4, dtype=np.float32)


def test_finds_the_nearest_first() -> None:
    vectors = CollectionVectors(4)
    vectors.add([10, 11, 12], AXES[:3])
    query = np.array([0.1, 0.9, 0.3, 0], dtype=np.float32)
    assert [chunk_id for chunk_id, _ in vectors.search(query, 2)] == [11, 12]
    assert [chunk_id for chunk_id, _ in vectors.search(query, 99)] == [11, 12, 10]


def test_what_is_removed_is_not_found() -> None:
    vectors = CollectionVectors(4)
    vectors.add([1, 2], AXES[:2])
    vectors.remove([1, 77])
    assert vectors.search(AXES[0], 5) == [(2, 0.0)]
    assert vectors.similarities(AXES[0], [1, 2]) == {2: 0.0}


def test_many_additions_and_removals_leave_the_right_rows() -> None:
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((3_000, 4)).astype(np.float32)
    vectors = CollectionVectors(4)
    for start in range(0, 3_000, 100):
        vectors.add(list(range(start, start + 100)), rows[start : start + 100])
        vectors.remove(range(start, start + 90))
    kept = [number for number in range(3_000) if number % 100 >= 90]
    assert len(vectors) == len(kept)
    found = vectors.search(rows[95], 3_000)
    assert sorted(chunk_id for chunk_id, _ in found) == kept
    assert all(score == pytest.approx(float(rows[chunk_id] @ rows[95]), abs=1e-4) for chunk_id, score in found)


def test_collections_are_apart_and_vanish_when_empty() -> None:
    memory = VectorMemory(4)
    memory.apply(Change(Scope("a"), added=(1,), vectors=AXES[:1]))
    memory.apply(Change(Scope("b"), added=(2,), vectors=AXES[:1]))
    assert len(memory) == 2
    memory.apply(Change(Scope("a"), removed=(1,)))
    assert memory.of(Scope("a")) is None and memory.of(Scope("b")) is not None
