"""The observability mode of this process: what it exports, as the control plane says, switched while it runs."""

import asyncio
import logging
import time
from collections.abc import Callable
from enum import StrEnum

from opentelemetry.instrumentation.utils import suppress_instrumentation

from shared.errors import WaystationError
from shared.pb import control_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors

logger = logging.getLogger(__name__)

RETRY_S = 1.0
WATCH_TIMEOUT_S = 3_600.0
"""A watch is taken up anew so often; without a limit of its own it would get the default one of a call."""


class Mode(StrEnum):
    """How much is exported. What the process counts does not depend on it."""

    SHIPPING = "shipping"
    """Spans only."""
    DEBUG = "debug"
    """Spans, metrics and logs; prompts and outputs are on the spans."""


class ModeSwitch:
    """The mode in force here, and who wants to hear of its changes. Begins with `shipping`."""

    def __init__(self) -> None:
        self.mode = Mode.SHIPPING
        self._listeners: list[Callable[[Mode], None]] = []

    @property
    def is_debug(self) -> bool:
        """Whether everything is exported."""
        return self.mode is Mode.DEBUG

    def listen(self, listener: Callable[[Mode], None]) -> None:
        """Call `listener` with the mode now and after each change. It must not block."""
        self._listeners.append(listener)
        listener(self.mode)

    def set(self, mode: Mode) -> None:
        """Put a mode in force."""
        if mode is self.mode:
            return
        self.mode = mode
        logger.info("the observability mode is %s now", mode)
        for listener in self._listeners:
            listener(mode)


process_mode = ModeSwitch()
"""The process's own, as the tracer provider is."""


class ModeFollower:
    """Keeps a switch as the control plane says.

    While the control plane is away the last mode it gave holds until its time is over.
    """

    def __init__(self, switch: ModeSwitch, control_address: str, now_s: Callable[[], float] = time.time) -> None:
        self._switch, self._control_address, self._now_s = switch, control_address, now_s
        self._expiry: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Follow for ever; never raises for a control plane that is away or answers nonsense."""
        with suppress_instrumentation():
            async with open_channel(self._control_address) as channel:
                stub = control_v1.ObservabilityServiceStub(channel)
                try:
                    while True:
                        await self._follow(stub)
                        await asyncio.sleep(RETRY_S)
                finally:
                    self._forget_expiry()

    async def _follow(self, stub: "control_v1.ObservabilityServiceAsyncStub") -> None:
        try:
            with peer_errors("control"):
                request = control_v1.WatchModeRequest()
                async for update in stub.WatchMode(request, timeout=WATCH_TIMEOUT_S, wait_for_ready=True):
                    self.take(update.mode)
        except WaystationError as error:
            logger.debug("the observability mode stays %s: %s", self._switch.mode, error)

    def take(self, state: control_v1.ModeState) -> None:
        """Put the state's mode in force, and see to its end. A mode of a newer contract is passed over."""
        mode = _BY_VALUE.get(state.mode)
        if mode is None:
            logger.warning("the control plane names a mode that this build does not know: %d", state.mode)
            return
        self._forget_expiry()
        self._switch.set(mode)
        if state.HasField("expire_time"):
            left_s = max(0.0, state.expire_time.ToNanoseconds() / 1e9 - self._now_s())
            following = _BY_VALUE.get(state.set_mode, Mode.SHIPPING)
            # a temporary mode that somebody set has nothing under it but the default
            after = following if following is not mode else Mode.SHIPPING
            self._expiry = asyncio.get_running_loop().call_later(left_s, self._switch.set, after)

    def _forget_expiry(self) -> None:
        if self._expiry:
            self._expiry.cancel()
            self._expiry = None


_BY_VALUE = {control_v1.MODE_SHIPPING: Mode.SHIPPING, control_v1.MODE_DEBUG: Mode.DEBUG}
