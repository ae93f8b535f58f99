"""Deadlines: a served call never runs for ever, and an outgoing one never outlives the call it is made for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.call_context import current_call
from shared.rpc.interceptors.around import ServedCall

DEFAULT_TIMEOUT_S = 30.0
"""For outgoing calls that set none."""
LONGEST_UNARY_S = 300.0
"""For served calls whose caller set no deadline; streams may last as long as their reader stays."""


@asynccontextmanager
async def around_deadline(call: ServedCall) -> AsyncIterator[None]:
    """Bound a unary call whose caller set no deadline. gRPC itself ends the others."""
    if call.is_stream or call.servicer_context.time_remaining() is not None:
        yield
        return
    async with asyncio.timeout(LONGEST_UNARY_S):
        yield


def outgoing_timeout(explicit: float | None) -> float:
    """Seconds for an outgoing call: what its maker set, or the default; less when less is left of the served call.

    Raises `DeadlineExceeded` when nothing is left.
    """
    wanted = DEFAULT_TIMEOUT_S if explicit is None else explicit
    call_context = current_call()
    return wanted if call_context is None else call_context.timeout_s(wanted)
