"""The capability hands the task over with what earlier hops found, to the model that fits the effort."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from services.tools.addresses import HostGuard
from services.tools.capability import ToolsCapability, describe_tools
from services.tools.folders import AllowedFolders
from services.tools.loop import ToolLoop
from services.tools.toolbox import builtin_tools
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, Message, Result
from tests.fakes.chat import ScriptedChatModel

NONE = '{"tool": "none"}'


def test_the_descriptor_has_what_the_router_learns_from() -> None:
    descriptor = describe_tools()
    assert descriptor.name == "tools"
    assert len(descriptor.examples) >= 60
    assert len(descriptor.description) < 200
    assert descriptor.is_idempotent


async def test_messages_and_artifacts_are_shown_bounded(folders: AllowedFolders, clock: Callable[[], datetime]) -> None:
    low, medium = ScriptedChatModel([NONE]), ScriptedChatModel([NONE])
    models: Any = {"low": low, "medium": medium, "high": medium}
    loop = ToolLoop(builtin_tools(folders, HostGuard(), clock), clock)
    invocation = Invocation(
        task="double it",
        inbox=(Message("m1", "reviewer", "tools", {"note": "mind the tax"}),),
        context=(
            Artifact("a1", "text", "old", "text/plain", "o" * 5_000),
            Artifact("a2", "text", "price", "text/plain", "21 euros"),
        ),
        effort="low",
    )
    outputs = [item async for item in ToolsCapability(describe_tools(), loop, models).invoke(invocation, CallContext())]
    assert isinstance(outputs[-1], Result)
    request = low.requests[0].messages[1].content
    assert 'reviewer: {"note": "mind the tax"}\nprice: 21 euros\nold: ooo' in request
    assert len(request) < 1_500
    assert medium.requests == []
