"""The HTTP door: OpenAI's chat completions, the list of models, and health."""

from dataclasses import replace

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.models.answer import ChatAnswer
from services.models.backend import Backend
from services.models.chat_request import parse_request
from services.models.http_errors import error_response
from services.models.settings import ModelsSettings
from shared.errors import InvalidInput, WaystationError


class ModelsApi:
    """The endpoints."""

    def __init__(self, backend: Backend, settings: ModelsSettings) -> None:
        self._backend = backend
        self._settings = settings

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        body = await _read_body(request, self._settings.max_request_bytes)
        parsed = parse_request(
            body,
            default_tokens=self._settings.default_reply_tokens,
            max_tokens=self._settings.max_reply_tokens,
        )
        return ChatAnswer(self._backend, replace(parsed, model=self._backend.resolve(parsed.model)))

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "waystation", "state": state}
            for name, state in self._backend.model_states().items()
        ]
        return JSONResponse({"object": "list", "data": models})

    async def health(self, request: Request) -> Response:
        """`GET /health`: 200, and which models are there."""
        return JSONResponse({"status": "ok", "models": self._backend.model_states()})


def build_app(backend: Backend, settings: ModelsSettings) -> Starlette:
    """The ASGI application. The host name is checked, so that no web page can reach it by rebinding its own name."""
    api = ModelsApi(backend, settings)
    hosts = [settings.host, settings.advertise_host or settings.host, "127.0.0.1", "localhost", "[::1]", "models"]
    return Starlette(
        routes=[
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1/models", api.list_models),
            Route("/health", api.health),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={WaystationError: _answer_error},
    )


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WaystationError)
    return error_response(error)


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise InvalidInput(f"The request is larger than {limit} bytes.", field="body", limit=limit)
    return bytes(body)
