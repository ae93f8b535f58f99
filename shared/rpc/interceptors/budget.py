"""Budgets on the wire: how many hops a served call may still cause, and how many turns of its loop are left.

A call to a capability is one hop, for a service as for the agent: it takes one of what its maker was given, and
carries what is left then. A call that brings no budget has none to exceed.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.call_context import Budget, CallContext, current_call, serving
from shared.errors import InvalidInput
from shared.rpc.interceptors.around import ServedCall

HOPS_KEY = "waystation-remaining-hops"
"""Metadata: hops that may still be done, the call that carries it not counted."""
CYCLES_KEY = "waystation-remaining-cycles"
"""Metadata: turns of the bounded loop that may still be begun."""
INVOKE = "/waystation.capability.v1.CapabilityService/Invoke"
MOST = 1_000_000


@asynccontextmanager
async def around_budget(call: ServedCall) -> AsyncIterator[None]:
    """Serve the call within the budget that it carries. Raises `InvalidInput` for one that is no number."""
    hops, cycles = _read(call.metadata, HOPS_KEY), _read(call.metadata, CYCLES_KEY)
    if hops is None and cycles is None:
        yield
        return
    with serving(dataclasses.replace(current_call() or CallContext(), budget=Budget(hops, cycles))):
        yield


def outgoing_budget(method: str, explicit: str | bytes | None) -> Mapping[str, str]:
    """The budget that an outgoing call carries; one to a capability takes a hop of the served call's.

    `explicit` is what its maker put into the call itself: it counts where it is less. Raises `LimitExceeded` when no
    hop is left.
    """
    call_context = current_call()
    budget = call_context.budget if call_context else None
    if budget is None:
        return {}
    if method == INVOKE:
        budget.take_hop()
    told = {HOPS_KEY: budget.remaining_hops, CYCLES_KEY: budget.remaining_cycles}
    wanted = _number(HOPS_KEY, explicit) if explicit is not None else None
    if wanted is not None and budget.remaining_hops is not None:
        told[HOPS_KEY] = min(wanted, budget.remaining_hops)
    return {key: str(value) for key, value in told.items() if value is not None}


def _read(metadata: Mapping[str, str | bytes], key: str) -> int | None:
    value = metadata.get(key)
    return None if value is None else _number(key, value)


def _number(key: str, value: str | bytes) -> int:
    text = value if isinstance(value, str) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and int(text) <= MOST):
        raise InvalidInput(f"The metadata {key} must be a number from 0 to {MOST}.", field=key, limit=MOST)
    return int(text)
