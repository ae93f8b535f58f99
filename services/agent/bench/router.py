"""Measures the router: accuracy, calibration, abstention, newcomers and latency.

Peers in the same run are the nearest class mean and the nearest neighbour over the same sentence vectors.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.agent.bench.measure import Measure, compared, quantile
from services.agent.router.authored import (
    BENCH_FILE,
    NONE,
    LabelledQuery,
    builtin_services,
    labelled_queries,
    newcomers,
)
from services.agent.router.catalogue import none_examples
from services.agent.router.example_router import ExampleRouter, heuristic_router
from services.agent.router.recommendation import Recommendation
from services.agent.router.router import Router
from services.agent.router.vectors import CachedVectors, Vectors
from shared.capability import Descriptor
from shared.models.embedder import Embedder

BINS = 15
CURVE = (10, 20, 40, 60)
SEEDS = 3
CROWD = 100
CROWD_EXAMPLES = 60
CLASS_MEAN, NEIGHBOUR = "nearest class mean", "nearest neighbour"


@dataclass(frozen=True)
class Verdicts:
    """What a router said of labelled queries; arrays of the queries' length."""

    is_right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    """Of what was recommended, or of the abstention."""
    is_abstention: NDArray[np.bool_]
    latency_ms: NDArray[np.float64]


async def measure(data: Path | None = None) -> list[Measure]:
    """Measure on a JSONL file of `query` and `label`; without one on the repository's own bench set.

    Raises InvalidInput when the file is none.
    """
    items = labelled_queries(data or BENCH_FILE)
    with Embedder() as embedder:
        vectors = CachedVectors(embedder)
        memory = _Memory(vectors)
        router = ExampleRouter(vectors, "embedding")
        services = builtin_services()
        await router.update(services)
        verdicts = await _ask(router, items)
        peers = await _peers(vectors, services, items)
        return [
            *_quality(items, verdicts, peers),
            *_by_group(items, verdicts),
            *_reliability(verdicts),
            *_latency("", verdicts.latency_ms),
            await _heuristic_accuracy(services, items),
            *await _curve(memory, items),
            *await _newcomers(memory, services, items),
            *await _crowd(vectors, services, items),
        ]


class _Memory:
    """Vectors that remember queries too; where latency is not measured, this saves embedding them dozens of times."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._queries: dict[str, NDArray[np.float32]] = {}

    async def of_examples(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return await self._vectors.of_examples(texts)

    def expect_query(self, query: str) -> None:
        self._vectors.expect_query(query)

    async def of_query(self, query: str) -> NDArray[np.float32]:
        if query not in self._queries:
            self._queries[query] = await self._vectors.of_query(query)
        return self._queries[query]


def calibration_error(is_right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
    """Return the expected calibration error over 15 bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    parts = [(bins == number) for number in range(BINS)]
    gaps = [part.sum() * abs(is_right[part].mean() - confidence[part].mean()) for part in parts if part.any()]
    return float(sum(gaps) / len(confidence))


async def _ask(router: Router, items: Sequence[LabelledQuery]) -> Verdicts:
    found: list[Recommendation] = [await router.recommend(item.query) for item in items]
    return Verdicts(
        np.array([(one.top or NONE) == item.label for one, item in zip(found, items, strict=True)]),
        np.array([one.confidence for one in found]),
        np.array([one.top is None for one in found]),
        np.array([one.latency_ms for one in found]),
    )


def _quality(items: Sequence[LabelledQuery], verdicts: Verdicts, peers: dict[str, float]) -> list[Measure]:
    is_none = np.array([item.label == NONE for item in items])
    accuracy, count = float(verdicts.is_right.mean()), len(items)
    found = [compared("router.accuracy", accuracy, "share", peer, value, count) for peer, value in peers.items()]
    error = calibration_error(verdicts.is_right, verdicts.confidence)
    found.append(Measure("router.calibration_error", error, "share", n=count))
    for name, part in (("router.abstains_on_none", is_none), ("router.abstains_wrongly", ~is_none)):
        if part.any():
            found.append(Measure(name, float(verdicts.is_abstention[part].mean()), "share", n=int(part.sum())))
    return found


def _by_group(items: Sequence[LabelledQuery], verdicts: Verdicts) -> list[Measure]:
    """Return the accuracy per label and source; never a single query."""
    groups = np.array([f"{item.label}/{item.source}".rstrip("/") for item in items])
    return [
        Measure(f"router.accuracy[{group}]", float(verdicts.is_right[groups == group].mean()), "share", n=int(count))
        for group, count in zip(*np.unique(groups, return_counts=True), strict=True)
    ]


def _reliability(verdicts: Verdicts) -> list[Measure]:
    """Return the accuracy per bin of confidence, beside the mean confidence it should equal."""
    bins = np.minimum((verdicts.confidence * BINS).astype(int), BINS - 1)
    found = []
    for number in np.unique(bins):
        part = bins == number
        name = f"router.reliability[{number / BINS:.2f}-{(number + 1) / BINS:.2f}]"
        right, said = float(verdicts.is_right[part].mean()), float(verdicts.confidence[part].mean())
        found.append(compared(name, right, "share", "mean confidence", said, int(part.sum())))
    return found


def _latency(name: str, samples: NDArray[np.float64]) -> list[Measure]:
    return [
        Measure(f"router{name}.latency_p50", quantile(samples.tolist(), 0.5), "ms", n=len(samples)),
        Measure(f"router{name}.latency_p99", quantile(samples.tolist(), 0.99), "ms", n=len(samples)),
    ]


async def _peers(
    vectors: CachedVectors, services: Sequence[Descriptor], items: Sequence[LabelledQuery]
) -> dict[str, float]:
    classes = {service.name: service.examples for service in services} | {NONE: none_examples()}
    names = np.array(list(classes))
    texts = [text for examples in classes.values() for text in examples]
    owners = np.repeat(np.arange(len(names)), [len(examples) for examples in classes.values()])
    rows = await vectors.of_examples(texts)
    queries = np.vstack([await vectors.of_query(item.query) for item in items])
    labels = np.array([item.label for item in items])
    means = np.stack([rows[owners == index].mean(axis=0) for index in range(len(names))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {
        CLASS_MEAN: float((names[(queries @ means.T).argmax(axis=1)] == labels).mean()),
        NEIGHBOUR: float((names[owners[(queries @ rows.T).argmax(axis=1)]] == labels).mean()),
    }


async def _heuristic_accuracy(services: Sequence[Descriptor], items: Sequence[LabelledQuery]) -> Measure:
    router = heuristic_router()
    await router.update(services)
    verdicts = await _ask(router, items)
    return Measure("router.heuristic.accuracy", float(verdicts.is_right.mean()), "share", n=len(items))


async def _curve(vectors: Vectors, items: Sequence[LabelledQuery]) -> list[Measure]:
    """Return the accuracy with fewer examples a service, the mean of three draws; those of none stay."""
    found = []
    for count in CURVE:
        accuracies, errors = [], []
        for seed in range(SEEDS):
            router = ExampleRouter(vectors, "embedding")
            await router.update([_drawn(service, count, seed) for service in builtin_services()])
            verdicts = await _ask(router, items)
            accuracies.append(verdicts.is_right.mean())
            errors.append(calibration_error(verdicts.is_right, verdicts.confidence))
        found.append(Measure(f"router.accuracy@{count}", float(np.mean(accuracies)), "share", n=SEEDS * len(items)))
        error = float(np.mean(errors))
        found.append(Measure(f"router.calibration_error@{count}", error, "share", n=SEEDS * len(items)))
    return found


def _drawn(service: Descriptor, count: int, seed: int) -> Descriptor:
    chosen = np.random.default_rng(seed).permutation(len(service.examples))[:count]
    return replace(service, examples=tuple(service.examples[index] for index in chosen))


async def _newcomers(vectors: Vectors, services: Sequence[Descriptor], items: Sequence[LabelledQuery]) -> list[Measure]:
    """Register one newcomer at a time: does it get its requests, and does it leave the others theirs?"""
    found = []
    for count in (3, 8):
        got, taken = [], []
        for newcomer in newcomers():
            router = ExampleRouter(vectors, "embedding")
            service = replace(newcomer.service, examples=newcomer.service.examples[:count])
            await router.update([*services, service])
            own = [await router.recommend(query) for query in newcomer.queries]
            got += [one.top == service.name for one in own]
            others = [await router.recommend(item.query) for item in items]
            taken += [one.top == service.name for one in others]
        found.append(Measure(f"router.newcomer.recall@{count}", float(np.mean(got)), "share", n=len(got)))
        found.append(
            Measure(f"router.newcomer.takes_from_others@{count}", float(np.mean(taken)), "share", n=len(taken))
        )
    return found


async def _crowd(
    vectors: CachedVectors, services: Sequence[Descriptor], items: Sequence[LabelledQuery]
) -> list[Measure]:
    """Fill up to 100 services of 60 examples; measure queries, and one more registration."""
    router = ExampleRouter(vectors, "embedding")
    crowd = [*services, *(invented(number) for number in range(CROWD - len(services) - 1))]
    await router.update(crowd)
    started = time.perf_counter()
    await router.update([*crowd, invented(CROWD)])
    await router.recommend("What can service one hundred do?")
    seconds = time.perf_counter() - started
    long_items = [replace(item, query=" ".join([item.query] * 40)) for item in items[:50]]
    verdicts, long_verdicts = await _ask(router, items), await _ask(router, long_items)
    return [
        *_latency(".100_services", verdicts.latency_ms),
        *_latency(".100_services.256_tokens", long_verdicts.latency_ms),
        Measure("router.100_services.registration", seconds, "s"),
    ]


def invented(number: int) -> Descriptor:
    """One of many services that resemble each other."""
    verbs = ("show", "find", "update", "cancel", "compare", "explain", "print", "archive", "sort", "price")
    things = ("crates", "permits", "orchids", "turbines", "ledgers", "saddles")
    examples = (f"{verb} the {thing} of depot {number}" for verb in verbs for thing in things)
    return Descriptor(f"depot-{number}", f"Keeps the goods of depot {number}.", ("depot",), tuple(examples))
