"""What the router would recommend, over HTTP."""

from fastapi import APIRouter
from pydantic import Field

from services.control.gateway.agent_peer import ACT_TIMEOUT_S, AgentPeer
from services.control.gateway.failures import FAILURES
from services.control.gateway.parameters import Id
from services.control.gateway.run_views import RecommendationView
from services.control.gateway.view import RequestBody
from shared.pb import agent_v1


class RouteQuery(RequestBody):
    """A question to route."""

    query: str = Field(min_length=1, max_length=32_768)
    tags: list[Id] = Field(default_factory=list, max_length=64)
    """Only services that have all these tags."""


def recommendation_routes(agent: AgentPeer) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/route", responses=FAILURES, tags=["runs"])

    @router.post("")
    async def recommend_route(body: RouteQuery) -> RecommendationView:
        """Which capability the router would recommend, without starting anything."""
        request = agent_v1.RecommendRouteRequest(query=body.query, tags=body.tags)
        async with agent.runs() as stub:
            return RecommendationView.of((await stub.RecommendRoute(request, timeout=ACT_TIMEOUT_S)).recommendation)

    return router
