"""The mode of a process: it follows the control plane, and outlives it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.pb import control_v1
from shared.rpc.server import RpcServer
from shared.telemetry import mode as module
from shared.telemetry.mode import Mode, ModeFollower, ModeSwitch

SHIPPING, DEBUG = control_v1.MODE_SHIPPING, control_v1.MODE_DEBUG


class Control(control_v1.ObservabilityServiceServicer):
    """A control plane that says what it is told to, and ends its streams when it is told to."""

    def __init__(self) -> None:
        self.states: asyncio.Queue[control_v1.ModeState | None] = asyncio.Queue()

    async def WatchMode(self, request: Any, context: Any) -> AsyncIterator[control_v1.WatchModeResponse]:
        while (state := await self.states.get()) is not None:
            yield control_v1.WatchModeResponse(mode=state)


class Followed:
    """A switch and the modes it went through."""

    def __init__(self) -> None:
        self.switch = ModeSwitch()
        self.modes: asyncio.Queue[Mode] = asyncio.Queue()
        self.switch.listen(self.modes.put_nowait)

    async def next(self) -> Mode:
        return await asyncio.wait_for(self.modes.get(), 20)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)


def served(control: Control, port: int = 0) -> RpcServer:
    def add(server: Any) -> None:
        control_v1.add_ObservabilityServiceServicer_to_server(control, server)

    return RpcServer("127.0.0.1", port, add, ("waystation.control.v1.ObservabilityService",))


def state(mode: Any, set_mode: Any = SHIPPING, expire_s: float | None = None) -> control_v1.ModeState:
    message = control_v1.ModeState(mode=mode, set_mode=set_mode)
    if expire_s is not None:
        message.expire_time.FromNanoseconds(int(expire_s * 1e9))
    return message


async def test_it_begins_with_shipping_follows_and_comes_back_after_an_outage() -> None:
    followed, control = Followed(), Control()
    async with served(control) as server:
        following = asyncio.create_task(ModeFollower(followed.switch, server.address).run())
        control.states.put_nowait(state(DEBUG, DEBUG))
        assert [await followed.next(), await followed.next()] == [Mode.SHIPPING, Mode.DEBUG]
        control.states.put_nowait(None)
    assert followed.switch.is_debug  # the control plane is gone, the mode it gave is not
    async with served(control, server.port):
        control.states.put_nowait(state(SHIPPING))
        assert await followed.next() is Mode.SHIPPING
        following.cancel()
        control.states.put_nowait(None)


@pytest.mark.parametrize("set_mode", [SHIPPING, DEBUG])
async def test_a_mode_with_an_end_ends_without_the_control_plane(set_mode: Any) -> None:
    followed = Followed()
    follower = ModeFollower(followed.switch, "", now_s=lambda: 1_000.0)
    follower.take(state(DEBUG, set_mode, expire_s=1_000.05))
    assert [await followed.next() for _ in range(3)] == [Mode.SHIPPING, Mode.DEBUG, Mode.SHIPPING]


async def test_a_later_word_cancels_the_end_of_an_earlier_one() -> None:
    followed = Followed()
    follower = ModeFollower(followed.switch, "", now_s=lambda: 1_000.0)
    follower.take(state(DEBUG, expire_s=999.0))
    follower.take(state(DEBUG, DEBUG))
    await asyncio.sleep(0)
    assert followed.switch.is_debug


async def test_an_unknown_mode_changes_nothing() -> None:
    followed = Followed()
    ModeFollower(followed.switch, "").take(state(77))
    ModeFollower(followed.switch, "").take(state(control_v1.MODE_UNSPECIFIED))
    assert followed.switch.mode is Mode.SHIPPING and followed.modes.qsize() == 1
