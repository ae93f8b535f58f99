"""`waystation.tools.v1.ToolsService`: proto in, registry, proto out."""

import time
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from services.tools.registry import ToolRegistry
from services.tools.tool import Tool
from shared.call_context import current_call
from shared.errors import InvalidInput, NotFound
from shared.pb import tools_v1

_Context = grpc.aio.ServicerContext[Any, Any]


class ToolsServicer(tools_v1.ToolsServiceServicer):
    """Tools over gRPC."""

    def __init__(self, registry: ToolRegistry) -> None:
        self._registry = registry

    async def ListTools(self, request: tools_v1.ListToolsRequest, context: _Context) -> tools_v1.ListToolsResponse:
        """See the contract."""
        names = list(self._registry.names)
        if request.page_size < 0 or (request.page_token and request.page_token not in names):
            raise InvalidInput("page_size or page_token is none of ours.", field="page_token")
        start = names.index(request.page_token) if request.page_token else 0
        end = start + (request.page_size or len(names))
        tools = list(self._registry)[start:end]
        return tools_v1.ListToolsResponse(
            tools=[_to_proto(tool) for tool in tools], next_page_token=names[end] if end < len(names) else ""
        )

    async def CallTool(self, request: tools_v1.CallToolRequest, context: _Context) -> tools_v1.CallToolResponse:
        """See the contract."""
        if request.name not in self._registry:
            known = ", ".join(self._registry.names)
            raise NotFound(f"There is no tool {request.name[:60]!r}.", remedy=f"Known: {known}.", known=known)
        call, started = current_call(), time.perf_counter()
        remaining = call.remaining_s() if call else None
        limit = None if remaining is None else timedelta(seconds=remaining)
        output = await self._registry.call(request.name, MessageToDict(request.arguments), limit)
        if output.is_error and output.content.get("reason") == "INVALID_ARGUMENTS":
            raise InvalidInput(output.text, field="arguments")
        response = tools_v1.CallToolResponse(content=output.text, is_error=output.is_error)
        if output.content:
            response.structured_content.CopyFrom(ParseDict(output.content, Value()))
        response.duration.FromTimedelta(timedelta(seconds=time.perf_counter() - started))
        return response


def _to_proto(tool: Tool) -> tools_v1.Tool:
    message = tools_v1.Tool(
        name=tool.name, description=tool.description, origin=tool.origin, is_idempotent=tool.is_idempotent
    )
    message.input_schema.update(tool.input_schema)
    return message
