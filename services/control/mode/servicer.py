"""ObservabilityService: proto in, mode, proto out."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.control.mode.observability_mode import ModeState, ObservabilityMode
from shared.errors import InvalidInput
from shared.pb import control_v1

Context = grpc.aio.ServicerContext[Any, Any]


class ObservabilityServicer(control_v1.ObservabilityServiceServicer):
    """Serves the mode."""

    def __init__(self, mode: ObservabilityMode) -> None:
        self._mode = mode

    async def GetMode(self, request: control_v1.GetModeRequest, context: Context) -> control_v1.GetModeResponse:
        return control_v1.GetModeResponse(mode=_to_proto(self._mode.state))

    async def SetMode(self, request: control_v1.SetModeRequest, context: Context) -> control_v1.SetModeResponse:
        state = await self._mode.set(_mode_name(request.mode), _duration_s(request), request.actor, request.reason)
        return control_v1.SetModeResponse(mode=_to_proto(state))

    async def WatchMode(
        self, request: control_v1.WatchModeRequest, context: Context
    ) -> AsyncIterator[control_v1.WatchModeResponse]:
        async for state in self._mode.watch():
            yield control_v1.WatchModeResponse(mode=_to_proto(state))


def _mode_name(value: "control_v1.Mode.ValueType") -> str:
    known = control_v1.Mode.Name(value) if value in control_v1.Mode.values() else f"MODE_{value}"
    return known.removeprefix("MODE_").lower()


def _duration_s(request: control_v1.SetModeRequest) -> float | None:
    if not request.HasField("duration"):
        return None
    try:
        return request.duration.ToTimedelta().total_seconds()
    except (ValueError, OverflowError):
        raise InvalidInput("duration is not a valid duration.", field="duration") from None


def _to_proto(state: ModeState) -> control_v1.ModeState:
    message = control_v1.ModeState(
        mode=control_v1.Mode.Value(f"MODE_{state.mode.upper()}"),
        set_mode=control_v1.Mode.Value(f"MODE_{state.set_mode.upper()}"),
        cause=state.cause,
    )
    if state.expire_unix_s is not None:
        message.expire_time.FromNanoseconds(int(state.expire_unix_s * 1e9))
    return message
