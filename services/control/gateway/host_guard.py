"""Refuses what a foreign web page could have sent, and bodies that are too large, before they are read."""

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.control.gateway.mapping import error_view
from shared.errors import Forbidden, InvalidInput, LimitExceeded, WaystationError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MAX_BODY_BYTES = 1024 * 1024
READING = ("GET", "HEAD", "OPTIONS")


class HostGuard:
    """ASGI middleware. A page whose name was rebound to loopback still sends its own Host and Origin."""

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in (*LOOPBACK_NAMES, *allowed_hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["method"], scope["headers"])
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, error = refusal
        await JSONResponse(error_view(error).model_dump(), status)(scope, receive, send)

    def _refusal(self, method: str, headers: Collection[tuple[bytes, bytes]]) -> tuple[int, WaystationError] | None:
        found = {name: value.decode("latin-1") for name, value in headers}
        hosts = sum(name == b"host" for name, _ in headers)
        if hosts != 1 or _host_name(f"//{found[b'host']}") not in self._names:
            remedy = "Use http://127.0.0.1, or name the host in WAYSTATION_CONTROL_ALLOWED_HOSTS."
            return 403, Forbidden("The Host header names another host.", remedy=remedy, rule="host")
        origin = found.get(b"origin")
        if origin is not None and not self._is_own(origin):
            return 403, Forbidden("Pages of other origins may not use this API.", rule="origin")
        if method not in READING and not _is_json(found.get(b"content-type", "")):
            # what a page of another origin can send without asking first is a form or plain text
            remedy = "Send JSON with the header Content-Type: application/json, `{}` when there is nothing to say."
            return 415, InvalidInput("What changes something has to be JSON.", remedy=remedy, field="content-type")
        length = found.get(b"content-length", "0")
        if b"transfer-encoding" in found or not (length.isascii() and length.isdigit()):
            return 411, InvalidInput("A body needs a Content-Length.", field="content-length")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            return 413, LimitExceeded(f"A body may have {MAX_BODY_BYTES} bytes.", limit=MAX_BODY_BYTES)
        return None

    def _is_own(self, origin: str) -> bool:
        return origin.startswith(("http://", "https://")) and _host_name(origin) in self._names


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _host_name(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises when it is not a number
        is_plain = parts.path == "" and parts.username is None and not parts.query and not parts.fragment
        return (parts.hostname or "") if is_plain else ""
    except ValueError:
        return ""
