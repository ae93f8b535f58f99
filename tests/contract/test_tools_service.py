"""The tools service over a real wire: ListTools, CallTool and Invoke, and what it answers to bad requests."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.tools.__main__ import SERVICE_NAME
from services.tools.addresses import HostGuard
from services.tools.capability import ToolsCapability, describe_tools
from services.tools.folders import AllowedFolders
from services.tools.loop import ToolLoop
from services.tools.servicer import ToolsServicer
from services.tools.toolbox import builtin_tools
from shared.capability.servicer import CapabilityServicer
from shared.errors import ApprovalRequired, InvalidInput, ModelUnavailable, NotFound
from shared.pb import capability_v1, tools_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from tests.fakes.chat import ScriptedChatModel


@dataclass(frozen=True)
class Served:
    """A served tools service."""

    tools: Any
    capability: Any
    model: ScriptedChatModel


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """Serve the built-in tools over one folder, with a model whose script a test fills."""
    (tmp_path / "a.txt").write_text("hello\n")
    clock: Callable[[], datetime] = lambda: datetime(2026, 11, 21, 15, 4, tzinfo=UTC)  # noqa: E731
    registry = builtin_tools(AllowedFolders([tmp_path]), HostGuard(), clock)
    model = ScriptedChatModel([])
    models: Any = {"low": model, "medium": model, "high": model}
    capability = ToolsCapability(describe_tools(), ToolLoop(registry, clock), models)

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)
        tools_v1.add_ToolsServiceServicer_to_server(ToolsServicer(registry), server)

    async with (
        RpcServer("127.0.0.1", 0, add, (SERVICE_NAME,)) as server,
        open_channel(server.address) as channel,
    ):
        yield Served(
            tools_v1.ToolsServiceStub(channel),
            capability_v1.CapabilityServiceStub(channel),
            model,
        )


async def call_tool(served: Served, name: str, **arguments: Any) -> Any:
    request = tools_v1.CallToolRequest(name=name)
    request.arguments.update(arguments)
    with peer_errors("tools"):
        return await served.tools.CallTool(request, timeout=10)


async def test_tools_are_listed_with_their_schemas_page_by_page(served: Served) -> None:
    found, token = [], ""
    while True:
        request = tools_v1.ListToolsRequest(page_size=5, page_token=token)
        response = await served.tools.ListTools(request, timeout=10)
        found += response.tools
        token = response.next_page_token
        if not token:
            break
    assert len(found) == len({tool.name for tool in found}) == 12
    assert all(tool.origin == "builtin" and tool.is_idempotent for tool in found)
    calculate = next(tool for tool in found if tool.name == "calculate")
    assert calculate.input_schema["properties"]["expression"]["type"] == "string"


@pytest.mark.parametrize("size, token", [(-1, ""), (0, "nonsense")])
async def test_a_bad_page_is_refused(served: Served, size: int, token: str) -> None:
    with pytest.raises(InvalidInput), peer_errors("tools"):
        await served.tools.ListTools(tools_v1.ListToolsRequest(page_size=size, page_token=token), timeout=10)


async def test_a_call_gives_text_structure_and_duration(served: Served) -> None:
    response = await call_tool(served, "calculate", expression="17.5% of 2,340")
    assert response.content == "17.5% of 2,340 = 409.5"
    assert response.structured_content.struct_value["value"] == "409.5"
    assert not response.is_error
    assert response.duration.ToTimedelta().total_seconds() > 0


async def test_a_tools_own_failure_is_a_result(served: Served) -> None:
    response = await call_tool(served, "read_file", path="../etc/passwd")
    assert response.is_error
    assert response.structured_content.struct_value["reason"] == "OUTSIDE_FOLDERS"


async def test_an_unknown_tool_is_not_found_with_the_known_names(served: Served) -> None:
    with pytest.raises(NotFound, match="calculate"):
        await call_tool(served, "fly")


@pytest.mark.parametrize("arguments", [{}, {"date": 5}, {"date": "today", "extra": True}])
async def test_arguments_that_do_not_fit_are_invalid(served: Served, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="weekday"):
        await call_tool(served, "weekday", **arguments)


async def test_a_task_streams_calls_results_and_the_answer(served: Served) -> None:
    call = json.dumps({"tool": "weekday", "arguments": {"date": "1999-12-31"}})
    served.model.replies += [call, '{"tool": "finish"}', "It was a Friday."]
    request = capability_v1.InvokeRequest(task="what day was 1999-12-31")
    kinds = [item.WhichOneof("output") async for item in served.capability.Invoke(request, timeout=10)]
    assert [kind for kind in kinds if kind != "usage"] == ["tool_call", "tool_result", "text_delta", "result"]


async def test_a_guarded_tool_is_called_with_the_approved_arguments_only(served: Served) -> None:
    call = json.dumps({"tool": "weekday", "arguments": {"date": "1999-12-31"}})
    request = capability_v1.InvokeRequest(task="what day was 1999-12-31", guarded_tools=["weekday"])

    async def kinds(*replies: str) -> list[str | None]:
        served.model.replies += replies
        with peer_errors("tools"):
            return [item.WhichOneof("output") async for item in served.capability.Invoke(request, timeout=10)]

    with pytest.raises(ApprovalRequired) as caught:
        await kinds(call)
    assert caught.value.metadata["arguments"] == '{"date": "1999-12-31"}'
    request.approved_tool_calls.append("something else")
    with pytest.raises(ApprovalRequired):
        await kinds(call)
    request.approved_tool_calls.append(caught.value.metadata["digest"])
    assert "tool_result" in await kinds(call, '{"tool": "finish"}', "It was a Friday.")


async def test_no_fitting_tool_is_an_outcome_on_the_wire(served: Served) -> None:
    served.model.replies.append('{"tool": "none"}')
    replies = [
        item async for item in served.capability.Invoke(capability_v1.InvokeRequest(task="book a flight"), timeout=10)
    ]
    assert replies[-1].result.outcome == capability_v1.Result.OUTCOME_NO_ANSWER


async def test_a_model_that_is_away_is_a_typed_error(served: Served) -> None:
    served.model.replies.append(ModelUnavailable("The chat model is away."))
    with pytest.raises(ModelUnavailable), peer_errors("tools"):
        async for _ in served.capability.Invoke(capability_v1.InvokeRequest(task="17.5 % of 2,340"), timeout=10):
            pass
