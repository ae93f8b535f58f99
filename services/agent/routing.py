"""The router as the nodes want it: plain values, and only services that are there."""

from collections.abc import Callable, Collection, Sequence

from services.agent.router.recommendation import Recommendation as Recommended
from services.agent.router.router import Router
from services.agent.state import Candidate, Recommendation
from shared.capability import Descriptor


class LiveRouter:
    """Asks a router about the services that `services()` names at that moment."""

    def __init__(self, router: Router, services: Callable[[], Sequence[Descriptor]]) -> None:
        self._router, self._services = router, services

    def expect(self, query: str) -> None:
        """Begin with a query that will be asked about in a moment."""
        self._router.expect(query)

    async def recommend(self, query: str, tags: Collection[str] = ()) -> Recommendation:
        """Score the query for the services that have all `tags`. Raises `InvalidInput` for an empty one."""
        allowed = [service.name for service in self._services() if set(tags) <= set(service.tags)]
        return to_state(await self._router.recommend(query, allowed))


def to_state(recommended: Recommended) -> Recommendation:
    """The recommendation as JSON-shaped state."""
    return Recommendation(
        top=recommended.top or "",
        confidence=recommended.confidence,
        candidates=[
            Candidate(
                service=item.service,
                confidence=item.confidence,
                matched_tags=list(item.matched_tags),
                nearest_examples=list(item.nearest_examples),
            )
            for item in recommended.candidates
        ],
        router=recommended.router,
        latency_ms=recommended.latency_ms,
    )
