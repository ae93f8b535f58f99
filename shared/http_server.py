"""uvicorn inside our event loop: bound before it serves, and stopped by us, not by signals."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from shared.errors import StorageUnavailable
from shared.http_correlation import Correlation

DRAIN_S = 5


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # the process has its own handlers
        yield


@asynccontextmanager
async def http_server(
    app: ASGIApp, host: str, port: int, *, port_setting: str, drain_s: int = DRAIN_S
) -> AsyncIterator[int]:
    """Serve `app` while the context lasts; yields the bound port. Raises `StorageUnavailable` when it is taken.

    `port_setting` is the variable that the remedy names. Streams must end by themselves when the context does; others
    are cut off after `drain_s` seconds.
    """
    with _bound_socket(host, port, port_setting) as bound:
        config = uvicorn.Config(
            Correlation(app),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=drain_s,
            server_header=False,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


def _bound_socket(host: str, port: int, port_setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle off (40 ms an answer) only where the protocol is named
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise StorageUnavailable(
            f"Port {port} on {host} cannot be had: {error.strerror}.",
            remedy=f"Stop the process that has it, or set {port_setting}.",
            port=port,
        ) from None
    return bound
