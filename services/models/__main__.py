"""The model server as a process: builds everything and serves until it is told to stop."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.models.app import build_app
from services.models.backend import Backend
from services.models.scripted import load_script
from services.models.settings import ModelsSettings
from shared.http_server import http_server
from shared.process import ready_file, run_process, stop_requested

logger = logging.getLogger("services.models")

DRAIN_S = 10


def build_backend(settings: ModelsSettings) -> Backend:
    """What answers. Raises InvalidInput when the script of the scripted backend is bad."""
    if settings.backend == "scripted":
        return load_script(settings.script)
    # Imported here because it loads 100 MB of llama.cpp, which a scripted test has no use for.
    from services.models.native import NativeBackend

    return NativeBackend(settings)


@asynccontextmanager
async def serving(settings: ModelsSettings) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port. Running replies are given ten seconds to end."""
    backend = build_backend(settings)
    async with backend.running():
        app = build_app(backend, settings)
        port_setting = "WAYSTATION_MODELS_PORT"
        async with http_server(app, settings.host, settings.port, port_setting=port_setting, drain_s=DRAIN_S) as port:
            yield port


async def serve(settings: ModelsSettings, instance_id: str) -> None:
    """Serve until the process is told to stop."""
    async with serving(settings) as port:
        host = settings.advertise_host or settings.host
        logger.info("%s serves %s models at http://%s:%d/v1", instance_id, settings.backend, host, port)
        with ready_file(settings.home, "models", f"{host}:{port}"):
            await stop_requested()


if __name__ == "__main__":
    run_process(ModelsSettings, serve)
