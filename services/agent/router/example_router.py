"""Recommends services by their example requests."""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.agent.router.calibration import Calibration, load_calibration
from services.agent.router.catalogue import (
    Catalogue,
    Entry,
    build_catalogue,
    check_services,
    none_examples,
    spoken,
)
from services.agent.router.classifier import Rows
from services.agent.router.recommendation import Candidate, Recommendation
from services.agent.router.surface import surfaces
from services.agent.router.vectors import NoVectors, Vectors
from shared.capability import Descriptor
from shared.errors import InvalidInput

MAX_CANDIDATES = 5
NEAREST_EXAMPLES = 3


class ExampleRouter:
    """A router that scores a query against every service's examples.

    With vectors it is the embedding router; without, surface alone decides: the heuristic one, which needs no model.
    """

    def __init__(
        self,
        vectors: Vectors,
        kind: Literal["embedding", "heuristic"],
        calibration: Calibration | None = None,
    ) -> None:
        self._vectors = vectors
        self._kind = kind
        self._calibration = calibration or load_calibration(kind)
        self._catalogue: Catalogue | None = None
        self._updating = asyncio.Lock()

    async def update(self, services: Sequence[Descriptor]) -> tuple[InvalidInput, ...]:
        """See `Router.update`. Fitting happens in a thread; the new catalogue then replaces the old one at once."""
        entries, errors = check_services(services)
        async with self._updating:
            if self._catalogue is None or self._catalogue.entries != entries:
                self._catalogue = await self._fit(entries)
        return errors

    def expect(self, query: str) -> None:
        """See `Router.expect`: its vector is made while the run is stored."""
        self._vectors.expect_query(query)

    async def recommend(self, query: str, allowed: Collection[str] | None = None) -> Recommendation:
        """See `Router.recommend`."""
        started = time.perf_counter()
        check_query(query)
        catalogue = self._catalogue
        if catalogue is None and self._updating.locked():
            async with self._updating:  # The very first services are being embedded: seconds, once.
                catalogue = self._catalogue
        if catalogue is None or not catalogue.entries:
            return self._answer(started, (), 1.0)
        row = Rows(await self._vectors.of_query(query), surfaces([query]))
        similarities = catalogue.classifier.similarities(row)
        probabilities = catalogue.classifier.probabilities(row, similarities)[0]
        routable = [index for index, entry in enumerate(catalogue.entries) if allowed is None or entry.name in allowed]
        best = sorted(routable, key=lambda index: -probabilities[index])[:MAX_CANDIDATES]
        candidates = tuple(
            Candidate(
                service=catalogue.entries[index].name,
                confidence=float(probabilities[index]),
                matched_tags=catalogue.matched_tags(index, query, row.vectors[0]),
                nearest_examples=catalogue.nearest_texts(index, similarities[0], NEAREST_EXAMPLES),
            )
            for index in best
        )
        return self._answer(started, candidates, float(probabilities[-1]))

    def _answer(self, started: float, candidates: tuple[Candidate, ...], none: float) -> Recommendation:
        is_abstention = not candidates or candidates[0].confidence <= none
        return Recommendation(
            top=None if is_abstention else candidates[0].service,
            confidence=none if is_abstention else candidates[0].confidence,
            candidates=candidates,
            router=self._kind,
            latency_ms=(time.perf_counter() - started) * 1e3,
        )

    async def _fit(self, entries: tuple[Entry, ...]) -> Catalogue:
        blocks = [*(entry.texts for entry in entries), none_examples()]
        tags = [spoken(tag) for entry in entries for tag in entry.tags]
        vectors = await self._vectors.of_examples([text for texts in blocks for text in texts] + tags)
        return await asyncio.to_thread(self._build, entries, blocks, vectors)

    def _build(
        self, entries: tuple[Entry, ...], blocks: Sequence[tuple[str, ...]], vectors: NDArray[np.float32]
    ) -> Catalogue:
        known = self._catalogue.surface_blocks() if self._catalogue else {}
        made = [known[texts] if texts in known else surfaces(texts) for texts in blocks]
        count = sum(map(len, blocks))
        rows = Rows(vectors[:count], np.vstack(made))
        return build_catalogue(entries, rows, vectors[count:], self._calibration)


def heuristic_router() -> ExampleRouter:
    """Return a router that needs no model."""
    return ExampleRouter(NoVectors(), "heuristic")


def check_query(query: str) -> None:
    """Raise InvalidInput when there is nothing to route."""
    if not query.strip():
        raise InvalidInput("The query is empty.", remedy="Say what is wanted.", field="query")
