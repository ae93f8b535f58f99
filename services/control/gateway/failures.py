"""Errors of every origin as JSON: reason, message, remedy and metadata under a fitting HTTP status."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from services.control.gateway.mapping import error_view
from services.control.gateway.views import ErrorView
from shared.errors import InternalError, InvalidInput, NotBuilt, NotFound, WaystationError, row_of

logger = logging.getLogger(__name__)

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""By gRPC status; the others are 500."""
FAILURES: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorView, "description": "What went wrong"}}
"""What every route says of its errors."""


def add_failure_handlers(app: FastAPI) -> None:
    """Make `app` answer every error as JSON."""
    app.add_exception_handler(WaystationError, _foreseen)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unforeseen)


async def _foreseen(request: Request, error: Exception) -> Response:
    assert isinstance(error, WaystationError)
    return _answer(error, HTTP_STATUS.get(row_of(type(error)).status, 500))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return _answer(InvalidInput(f"{field}: {first['msg']}.", remedy="See /docs.", field=field), 400)


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _answer(NotFound(f"There is nothing at {request.url.path}.", remedy="See /docs."), 404)
    if error.status_code == 400:
        return _answer(InvalidInput(f"{error.detail}.", remedy="Send JSON.", field="body"), 400)
    return _answer(
        NotBuilt(f"{request.method} {request.url.path}: {error.detail}.", remedy="See /docs."),
        error.status_code,
    )


async def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(InternalError("Something unforeseen happened; the log of control has it."), 500)


def _answer(error: WaystationError, status: int) -> Response:
    return JSONResponse(error_view(error).model_dump(), status)
