"""Speaks the capability contract for a `Capability`: checks the request, and that the stream ends as it must."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import grpc

from shared.call_context import CallContext, current_call
from shared.capability.guarded_tools import ToolGuard
from shared.capability.outputs import Commit, Result, ToolCall
from shared.capability.service import Capability
from shared.capability.wire import descriptor_to_proto, invocation_from_proto, output_to_proto, result_to_proto
from shared.errors import InternalError, InvalidInput
from shared.pb import capability_v1

MAX_TASK_BYTES = 64 * 1024

_Context = grpc.aio.ServicerContext[Any, Any]


class CapabilityServicer(capability_v1.CapabilityServiceServicer):
    """`waystation.capability.v1.CapabilityService` over one capability."""

    def __init__(self, capability: Capability) -> None:
        self._capability = capability
        self.in_flight = 0
        """Calls being worked on."""

    async def Describe(
        self, request: capability_v1.DescribeRequest, context: _Context
    ) -> capability_v1.DescribeResponse:
        """See the contract."""
        return capability_v1.DescribeResponse(descriptor=descriptor_to_proto(self._capability.descriptor))

    async def Invoke(
        self, request: capability_v1.InvokeRequest, context: _Context
    ) -> AsyncIterator[capability_v1.InvokeResponse]:
        """See the contract."""
        size = len(request.task.encode())
        if not request.task.strip() or size > MAX_TASK_BYTES:
            raise InvalidInput(
                f"The task has {size} bytes; 1 to {MAX_TASK_BYTES} are possible.", field="task", limit=MAX_TASK_BYTES
            )
        self.in_flight += 1
        try:
            async with aclosing(cast(Any, self._respond(request))) as responses:
                async for response in responses:
                    yield response
        finally:
            self.in_flight -= 1

    async def _respond(self, request: capability_v1.InvokeRequest) -> AsyncIterator[capability_v1.InvokeResponse]:
        call = current_call() or CallContext()
        invocation = invocation_from_proto(request)
        outputs, guard = self._capability.invoke(invocation, call), ToolGuard(invocation)
        has_ended = False
        async with aclosing(cast(Any, outputs)):
            async for output in outputs:
                if has_ended:
                    raise InternalError(f"{self._capability.descriptor.name} yielded something after its result.")
                if isinstance(output, ToolCall):
                    guard.check(output)
                has_ended = isinstance(output, Result | Commit)
                yield await self._commit(output, call) if isinstance(output, Commit) else output_to_proto(output)
        if not has_ended:
            raise InternalError(f"{self._capability.descriptor.name} ended without a result.")

    async def _commit(self, commit: Commit, call: CallContext) -> capability_v1.InvokeResponse:
        if call.transaction is None:
            raise InternalError(f"{self._capability.descriptor.name} is served without a ledger to commit to.")
        return await call.transaction.commit(
            lambda connection: capability_v1.InvokeResponse(result=result_to_proto(commit.work(connection)))
        )
