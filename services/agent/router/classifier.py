"""Says which class of examples a query belongs to, and how probable that is.

Two views are added up. A ridge regression on sentence vector and surface together sees what all examples of a class
have in common; it needs many. A kernel mean sees how near the query is to single examples; it works with three.
Both are computed from the examples in well under a second, so a class that comes or goes means a new Classifier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.agent.router.calibration import Calibration

_FLOOR = 1e-12


@dataclass(frozen=True)
class Rows:
    """Texts as numbers: n sentence vectors, of length 1 or of dimension 0, and n surfaces."""

    vectors: NDArray[np.float32]
    """Shape (n, 384) or (n, 0)."""
    surfaces: NDArray[np.float32]
    """Shape (n, 1024)."""

    def joined(self) -> NDArray[np.float32]:
        """Both side by side."""
        return np.hstack([self.vectors, self.surfaces])


@dataclass(frozen=True)
class Evidence:
    """What speaks for each class, before calibration; two arrays of shape (queries, classes)."""

    linear: NDArray[np.float64]
    kernel: NDArray[np.float64]
    """Log of the mean likeness to the class's examples."""


class Classifier:
    """A fitted classifier; never changes, so many threads may ask it.

    `rows` are the examples class by class, `counts` how many each class has (at least one).
    """

    def __init__(self, rows: Rows, counts: NDArray[np.int64], calibration: Calibration) -> None:
        self._calibration = calibration
        self._counts = counts
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._vectors = rows.vectors
        self._columns = np.ascontiguousarray(rows.surfaces.T)
        self._weights, self._bias = _fit(rows.joined(), counts, calibration)

    def surfaces(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the surfaces of these examples."""
        return self._columns[:, start:stop].T

    def similarities(self, queries: Rows) -> NDArray[np.float32]:
        """Return each query's likeness to each example, at most 1: shape (queries, n)."""
        # A short text fills a twentieth of its surface: looking at that only saves most of the reading.
        used = np.flatnonzero(queries.surfaces.any(axis=0))
        lexical = _product(queries.surfaces[:, used], self._columns[used])
        if not self._vectors.shape[1]:
            return lexical
        share = self._calibration.surface_share
        mixed = (_product(queries.vectors, self._vectors.T) + share * lexical) / (1 + share)
        return mixed.astype(np.float32, copy=False)

    def evidence(self, queries: Rows, similarities: NDArray[np.float32]) -> Evidence:
        """Return what speaks for each class; `similarities` are those of the queries."""
        linear = _product(queries.joined(), self._weights) + self._bias
        likeness = np.exp(self._calibration.sharpness * (similarities.astype(np.float64) - 1))
        means = np.add.reduceat(likeness, self._starts, axis=1) / self._counts
        return Evidence(linear.astype(np.float64), np.log(means + _FLOOR))

    def probabilities(self, queries: Rows, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of each class: shape (queries, classes), rows with the sum 1."""
        return probabilities(self.evidence(queries, similarities), self._calibration)


def probabilities(evidence: Evidence, calibration: Calibration) -> NDArray[np.float64]:
    """Turn evidence into probabilities."""
    logits = calibration.linear_weight * evidence.linear + calibration.kernel_weight * evidence.kernel
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _product(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the matrix product, computed in this thread.

    `@` shares even a small product among BLAS's threads and waits for them: measured 16 ms on two busy cores for what
    takes 0.2 ms here.
    """
    return np.asarray(np.einsum("ij,jk->ik", left, right), dtype=np.float32)


def _fit(
    inputs: NDArray[np.float32], counts: NDArray[np.int64], calibration: Calibration
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Solve the weighted ridge regression of class membership on inputs; return weights (d, classes) and bias."""
    owners = np.repeat(np.arange(len(counts)), counts)
    weight = (counts.astype(np.float64) ** (calibration.balance - 1))[owners]
    weight = (weight / weight.sum()).astype(np.float32)
    targets = np.eye(len(counts), dtype=np.float32)[owners]
    input_mean, target_mean = weight @ inputs, weight @ targets
    centred = inputs - input_mean
    weighted = centred * weight[:, None]
    gram = (weighted.T @ centred).astype(np.float64)
    gram[np.diag_indices_from(gram)] += calibration.ridge
    weights = np.linalg.solve(gram, weighted.T @ (targets - target_mean)).astype(np.float32)
    return weights, target_mean - input_mean @ weights
