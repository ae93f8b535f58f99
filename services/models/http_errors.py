"""Errors as OpenAI's API has them: a status, and a document with message, type and code."""

from typing import Any

from starlette.responses import JSONResponse

from services.models.scripted import ScriptedFailure
from shared.errors import (
    Draining,
    InvalidInput,
    LimitExceeded,
    ModelCorrupt,
    ModelMissing,
    NotFound,
    Unavailable,
    WaystationError,
)

STATUSES: tuple[tuple[type[WaystationError], int], ...] = (
    (InvalidInput, 400),
    (NotFound, 404),
    (LimitExceeded, 429),
    (ModelMissing, 503),
    (ModelCorrupt, 503),
    (Draining, 503),
    (Unavailable, 503),
)


def http_status(error: WaystationError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ScriptedFailure):
        return error.http_status
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def error_document(error: WaystationError) -> dict[str, Any]:
    """The body of an error."""
    return {
        "error": {
            "message": str(error),
            "type": "invalid_request_error" if http_status(error) in (400, 404) else "server_error",
            "param": error.metadata.get("field"),
            "code": error.metadata.get("code") or error.reason.lower(),
        }
    }


def error_response(error: WaystationError) -> JSONResponse:
    """The whole response of an error."""
    return JSONResponse(error_document(error), http_status(error))
