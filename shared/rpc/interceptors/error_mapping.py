"""Exceptions become rich errors; the text of the unforeseen stays in our log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from shared.call_context import current_call
from shared.errors import DeadlineExceeded, InternalError, NotBuilt, WaystationError
from shared.rpc.interceptors.around import ServedCall
from shared.rpc.status import status_code, to_trailers

logger = logging.getLogger(__name__)


@asynccontextmanager
async def around_errors(call: ServedCall) -> AsyncIterator[None]:
    """Abort the call with the error's status, reason and remedy. Cancellation and aborts go through."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, grpc.aio.AbortError):
        raise
    except WaystationError as error:
        await _abort(call, error)
    except TimeoutError:
        await _abort(call, DeadlineExceeded("The call took longer than it may."))
    except NotImplementedError:
        await _abort(call, NotBuilt(f"{call.method} is in the contract, but not in this build yet."))
    except Exception:
        logger.exception("%s failed", call.method)
        await _abort(call, InternalError("Something unforeseen happened; the service's log has it."))


async def _abort(call: ServedCall, error: WaystationError) -> None:
    call_context = current_call()
    trailers = to_trailers(error, call_context.correlation_id if call_context else "")
    await call.servicer_context.abort(status_code(error), error.message, trailers)
