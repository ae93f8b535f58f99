"""The vectors of each collection as one matrix in memory, for exact search; it follows the commits of the index."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.rag.index import Change, Scope, Scored, Vectors

_FIRST_CAPACITY = 256
_MAX_DEAD_SHARE = 0.25


class CollectionVectors:
    """One collection's vectors. Rows are appended in place; what is deleted stays as a dead row until there are many.

    One thread changes it; a search in another thread works on the rows that were there when it began.
    """

    def __init__(self, dimensions: int) -> None:
        self._matrix: Vectors = np.empty((_FIRST_CAPACITY, dimensions), dtype=np.float32)
        self._ids: NDArray[np.int64] = np.empty(_FIRST_CAPACITY, dtype=np.int64)
        self._is_live: NDArray[np.bool_] = np.zeros(_FIRST_CAPACITY, dtype=np.bool_)
        self._row_by_id: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        """The number of live vectors."""
        return len(self._row_by_id)

    def add(self, chunk_ids: Sequence[int], vectors: Vectors) -> None:
        """Append a row for each id."""
        start, end = self._count, self._count + len(chunk_ids)
        if end > len(self._ids):
            self._move(np.arange(start), max(end, 2 * len(self._ids)))
        self._matrix[start:end] = vectors
        self._ids[start:end] = chunk_ids
        self._is_live[start:end] = True
        self._row_by_id.update(zip(chunk_ids, range(start, end), strict=True))
        self._count = end

    def remove(self, chunk_ids: Iterable[int]) -> None:
        """Forget ids; unknown ones are ignored."""
        for chunk_id in chunk_ids:
            row = self._row_by_id.pop(chunk_id, None)
            if row is not None:
                self._is_live[row] = False
        if self._count - len(self) > max(_FIRST_CAPACITY, _MAX_DEAD_SHARE * self._count):
            self._move(np.flatnonzero(self._is_live[: self._count]), len(self._ids))

    def _move(self, rows: NDArray[np.int64], capacity: int) -> None:
        """Copy these rows to new arrays; searches under way keep the old ones."""
        matrix = np.empty((capacity, self._matrix.shape[1]), dtype=np.float32)
        ids = np.empty(capacity, dtype=np.int64)
        is_live = np.zeros(capacity, dtype=np.bool_)
        count = len(rows)
        matrix[:count], ids[:count], is_live[:count] = self._matrix[rows], self._ids[rows], self._is_live[rows]
        self._matrix, self._ids, self._is_live, self._count = matrix, ids, is_live, count
        self._row_by_id = {int(ids[row]): row for row in range(count) if is_live[row]}

    def search(self, vector: Vectors, limit: int) -> list[Scored]:
        """The ids nearest to `vector` (of length 1), best first, with their cosines."""
        count = self._count
        # Not `@`: BLAS would take all cores for a tenth of a millisecond, and wait long for them on a busy machine.
        scores = np.vecdot(self._matrix[:count], vector)
        scores[~self._is_live[:count]] = -np.inf
        limit = min(limit, count)
        best = np.argpartition(scores, count - limit)[count - limit :] if limit < count else np.arange(count)
        best = best[np.argsort(-scores[best], kind="stable")]
        return [(int(self._ids[row]), float(scores[row])) for row in best if scores[row] > -np.inf]

    def similarities(self, vector: Vectors, chunk_ids: Sequence[int]) -> dict[int, float]:
        """The cosine of `vector` with each of these passages that is there."""
        rows = {chunk_id: self._row_by_id[chunk_id] for chunk_id in chunk_ids if chunk_id in self._row_by_id}
        scores = np.vecdot(self._matrix[list(rows.values())], vector)
        return dict(zip(rows, map(float, scores), strict=True))


class VectorMemory:
    """The vectors of all collections."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._collections: dict[Scope, CollectionVectors] = {}

    def apply(self, change: Change) -> None:
        """Follow a write to the index; call it in the order of the commits."""
        vectors = self._collections.get(change.scope)
        if vectors is None:
            vectors = self._collections[change.scope] = CollectionVectors(self._dimensions)
        vectors.remove(change.removed)
        if change.vectors is not None:
            vectors.add(change.added, change.vectors)
        if not len(vectors):
            del self._collections[change.scope]

    def of(self, scope: Scope) -> CollectionVectors | None:
        """The vectors of a collection; None when it is empty."""
        return self._collections.get(scope)

    def __len__(self) -> int:
        """The number of passages in all collections."""
        return sum(map(len, self._collections.values()))
