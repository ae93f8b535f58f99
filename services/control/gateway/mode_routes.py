"""The observability mode over HTTP."""

from fastapi import APIRouter

from services.control.gateway.failures import FAILURES
from services.control.gateway.mapping import mode_view
from services.control.gateway.views import ModeChoice, ModeView
from services.control.mode.observability_mode import ObservabilityMode


def mode_routes(mode: ObservabilityMode) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/mode", responses=FAILURES, tags=["mode"])

    @router.get("")
    async def get_mode() -> ModeView:
        """The observability mode of all processes."""
        return mode_view(mode.state)

    @router.put("")
    async def set_mode(choice: ModeChoice) -> ModeView:
        """Set the mode for all processes, for a while or until it is set again; they follow without a restart."""
        return mode_view(await mode.set(choice.mode, choice.duration_s, choice.actor, choice.reason))

    return router
