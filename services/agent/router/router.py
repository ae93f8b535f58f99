"""What the agent needs of a router, whatever scores behind it."""

from collections.abc import Collection, Sequence
from typing import Protocol

from services.agent.router.recommendation import Recommendation
from shared.capability import Descriptor
from shared.errors import InvalidInput


class Router(Protocol):
    """Recommends services for queries."""

    async def update(self, services: Sequence[Descriptor]) -> tuple[InvalidInput, ...]:
        """Make exactly these services routable from the next request on; queries in between see the old ones.

        Returns one error for each service that was left out because its descriptor is bad.
        """
        ...

    def expect(self, query: str) -> None:
        """Begin with a query that will be asked about in a moment."""
        ...

    async def recommend(self, query: str, allowed: Collection[str] | None = None) -> Recommendation:
        """Recommend a service for the query, or abstain.

        `allowed` names the services that may be recommended now (healthy, with the wanted tag); None means all.
        Raises InvalidInput for an empty query.
        """
        ...
