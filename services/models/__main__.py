"""The model server process."""

import asyncio
import socket
from contextlib import AsyncExitStack

import uvicorn

from services.models.app import build_app
from services.models.backend import Backend
from services.models.scripted import ScriptedBackend, load_script
from services.models.settings import ModelsSettings
from shared.errors import StorageUnavailable
from shared.process import ready_file, run_process, stop_requested

DRAIN_S = 5


async def serve(settings: ModelsSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        listener = _bind(settings)
        backend = await _backend(settings, stack)
        config = uvicorn.Config(
            build_app(backend, settings),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=DRAIN_S,
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        address = f"{settings.advertise_host or settings.host}:{listener.getsockname()[1]}"
        stack.enter_context(ready_file(settings.home, "models", address))
        await stop_requested()
        server.should_exit = True
        await serving


async def _backend(settings: ModelsSettings, stack: AsyncExitStack) -> Backend:
    if settings.backend == "scripted":
        return ScriptedBackend(load_script(settings.script))
    # imported here: llama.cpp's libraries are of no use to the scripted backend
    from services.models.llama import LlamaBackend

    backend = LlamaBackend(settings)
    stack.push_async_callback(backend.close)
    await backend.open()
    return backend


def _bind(settings: ModelsSettings) -> socket.socket:
    # the protocol is named because asyncio turns Nagle off only on sockets that say they are TCP
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise StorageUnavailable(
            f"Port {settings.port} on {settings.host} cannot be used: {error.strerror}.",
            remedy="Stop the process that has it, or set WAYSTATION_MODELS_PORT.",
            port=settings.port,
        ) from None
    return listener


if __name__ == "__main__":
    run_process(ModelsSettings, serve)
