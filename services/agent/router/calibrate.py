"""Fits the router's parameters on the repository's own requests: `python -m services.agent.router.calibrate`.

Confidence must also hold for requests that are worded like none of the examples. So the examples are cross-validated
by whole groups (each is one style or subject, so what is left out is really unlike what is left), beside the bench
set, requests for newcomers with three and with eight examples, and others' requests with all newcomers present.
The parameters with the least mean negative log-likelihood over these are kept.
"""

import argparse
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.agent.router.authored import (
    BUILTIN,
    NONE,
    Newcomer,
    example_groups,
    labelled_queries,
    newcomers,
)
from services.agent.router.calibration import CALIBRATION_FILE, Calibration
from services.agent.router.catalogue import Entry
from services.agent.router.classifier import Classifier, Evidence, Rows, probabilities
from services.agent.router.surface import surfaces
from shared.models.embedder import Embedder

LABELS = (*BUILTIN, NONE)
FOLDS = 6
NEWCOMER_EXAMPLES = (3, 8)
START = Calibration(linear_weight=6, kernel_weight=1, sharpness=15, surface_share=0.25)
SHARPNESS = {"embedding": (12, 15, 20), "heuristic": (10, 15, 20, 25)}
SHARES = {"embedding": (0.0, 0.25, 0.5), "heuristic": (1.0,)}
LINEAR_WEIGHTS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)
KERNEL_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)

Kind = Literal["embedding", "heuristic"]
Encode = Callable[[Sequence[str]], Rows]


@dataclass(frozen=True)
class Trial:
    """One classifier asked many queries."""

    name: str
    weight: float
    evidence: Evidence
    labels: NDArray[np.int64]
    """The right class of each query."""


@dataclass(frozen=True)
class Sample:
    """The classes' texts and the queries of one trial, not yet computed."""

    name: str
    weight: float
    classes: tuple[tuple[str, ...], ...]
    queries: tuple[tuple[str, int], ...]


def main() -> None:
    """Fit both kinds of router and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=CALIBRATION_FILE, help="where the parameters go")
    out = parser.parse_args().out
    samples = tuple(_samples())
    with Embedder() as embedder:
        document = {
            "made_by": "python -m services.agent.router.calibrate",
            "texts_sha256": _digest(samples),
            "embedding": _fit("embedding", samples, _memory(embedder.embed)),
            "heuristic": _fit("heuristic", samples, _memory(lambda texts: np.zeros((len(texts), 0), np.float32))),
        }
    out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"Wrote {out}")


def _fit(kind: Kind, samples: Sequence[Sample], encode: Encode) -> dict[str, object]:
    best, best_loss = START, float("inf")
    best_trials: tuple[Trial, ...] = ()
    for sharpness, share in itertools.product(SHARPNESS[kind], SHARES[kind]):
        start = replace(START, sharpness=sharpness, surface_share=share)
        trials = tuple(_run(sample, start, encode) for sample in samples)
        fitted, loss = _descend(start, trials)
        print(f"{kind}: sharpness {sharpness}, surface share {share}: loss {loss:.4f}", flush=True)
        if loss < best_loss:
            best, best_loss, best_trials = fitted, loss, trials
    return {"parameters": asdict(best), "loss": round(best_loss, 4), "by_set": _by_set(best, best_trials)}


def _descend(start: Calibration, trials: Sequence[Trial]) -> tuple[Calibration, float]:
    """Try every value of one parameter after the other until nothing helps."""
    best, best_loss = start, _loss(start, trials)
    while True:
        before = best_loss
        candidates = [replace(best, linear_weight=value) for value in LINEAR_WEIGHTS]
        best, best_loss = min(((c, _loss(c, trials)) for c in candidates), key=lambda pair: pair[1])
        candidates = [replace(best, kernel_weight=value) for value in KERNEL_WEIGHTS]
        best, best_loss = min(((c, _loss(c, trials)) for c in candidates), key=lambda pair: pair[1])
        if best_loss > before - 1e-4:
            return best, best_loss


def _loss(calibration: Calibration, trials: Sequence[Trial]) -> float:
    losses = []
    for trial in trials:
        found = probabilities(trial.evidence, calibration)
        right = found[np.arange(len(trial.labels)), trial.labels]
        losses.append(trial.weight * float(np.mean(-np.log(np.maximum(right, 1e-6)))))
    return sum(losses)


def _by_set(calibration: Calibration, trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """Return accuracy and mean confidence per set of trials, for the file's readers."""
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for trial in trials:
        found = probabilities(trial.evidence, calibration)
        right = found.argmax(axis=1) == trial.labels
        sums.setdefault(trial.name, []).append(np.stack([right, found.max(axis=1)]))
    means = {name: np.hstack(parts) for name, parts in sums.items()}
    return {
        name: {
            "n": part.shape[1],
            "accuracy": round(part[0].mean(), 3),
            "mean_confidence": round(part[1].mean(), 3),
        }
        for name, part in means.items()
    }


def _run(sample: Sample, calibration: Calibration, encode: Encode) -> Trial:
    counts = np.array([len(texts) for texts in sample.classes])
    classifier = Classifier(encode([text for texts in sample.classes for text in texts]), counts, calibration)
    queries = encode([query for query, _ in sample.queries])
    evidence = classifier.evidence(queries, classifier.similarities(queries))
    return Trial(sample.name, sample.weight, evidence, np.array([label for _, label in sample.queries]))


def _samples() -> Iterator[Sample]:
    groups = {label: example_groups(label) for label in LABELS}
    everything = tuple(tuple(text for group in groups[label] for text in group) for label in LABELS)
    for fold in range(FOLDS):
        kept = tuple(
            tuple(text for i, group in enumerate(groups[label]) if i % FOLDS != fold for text in group)
            for label in LABELS
        )
        left_out = tuple(
            (text, LABELS.index(label)) for label in LABELS for group in groups[label][fold::FOLDS] for text in group
        )
        yield Sample("examples by group", 1 / FOLDS, kept, left_out)
    bench = tuple((item.query, LABELS.index(item.label)) for item in labelled_queries())
    yield Sample("bench", 1.0, everything, bench)
    yield from _newcomer_samples(everything, tuple((q, label) for q, label in bench if LABELS[label] != "tools"))


def _newcomer_samples(everything: tuple[tuple[str, ...], ...], others: tuple[tuple[str, int], ...]) -> Iterator[Sample]:
    """Newcomers one at a time with their own requests; then all at once with requests that are not for them.

    The general tools' requests are left out of the latter: many of them suit a specialist better.
    """
    known = newcomers()
    for count in NEWCOMER_EXAMPLES:
        for newcomer in known:
            queries = tuple((query, len(everything)) for query in newcomer.queries)
            weight = 0.25 / len(known)
            yield Sample(f"newcomer with {count}", weight, (*everything, _texts(newcomer, count)), queries)
        classes = (*everything, *(_texts(newcomer, count) for newcomer in known))
        yield Sample(f"others beside newcomers with {count}", 0.25, classes, others)


def _texts(newcomer: Newcomer, count: int) -> tuple[str, ...]:
    return Entry.of(replace(newcomer.service, examples=newcomer.service.examples[:count])).texts


def _memory(embed: Callable[[Sequence[str]], NDArray[np.float32]]) -> Encode:
    """Return a function that turns texts into rows and computes each text once."""
    known: dict[str, Rows] = {}

    def encode(texts: Sequence[str]) -> Rows:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            pairs = zip(new, embed(new), surfaces(new), strict=True)
            known.update({text: Rows(vector, surface) for text, vector, surface in pairs})
        rows = [known[text] for text in texts]
        return Rows(np.stack([row.vectors for row in rows]), np.stack([row.surfaces for row in rows]))

    return encode


def _digest(samples: Sequence[Sample]) -> str:
    return hashlib.sha256(repr(samples).encode()).hexdigest()


if __name__ == "__main__":
    main()
