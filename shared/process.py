"""The life of a process: logs, traces, a ready file, and a drain when it is told to stop."""

import asyncio
import json
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import uvloop
from opentelemetry.sdk.resources import Resource

from shared.errors import StorageUnavailable, WaystationError
from shared.fault_points import fault_point
from shared.settings import Settings
from shared.telemetry.logs import set_up_logging
from shared.telemetry.observed import observed
from shared.telemetry.redaction import hide
from shared.telemetry.tracing import set_up_tracing

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)


def new_instance_id(service: str) -> str:
    """An id for this life of the process."""
    return f"{service}-{uuid.uuid4().hex[:12]}"


def run_process(settings_class: type[S], serve: Callable[[S, str], Coroutine[None, None, None]]) -> None:
    """Read the settings, set up logs and traces, and run `serve(settings, instance_id)` to its end.

    `serve` waits for `stop_requested` itself. A foreseen error is printed as one line and ends the process with 1.
    """
    service = settings_class.section
    try:
        settings = settings_class.load(os.environ)
        hide(settings.secrets)
        set_up_logging(service, settings.log_level)
        instance_id = new_instance_id(service)
        # the control plane does not trace itself: its spans would make spans
        endpoint = settings.spans_endpoint if settings.tracing and service != "control" else ""
        starts_address = settings.control_address if endpoint == settings.control_address else ""
        provider = set_up_tracing(service, instance_id, endpoint, starts_address)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_observed(settings, provider.resource, serve(settings, instance_id)))
        finally:
            provider.shutdown()
    except WaystationError as error:
        sys.exit(f"{service}: {error}")


async def _observed(settings: Settings, resource: Resource, served: Coroutine[None, None, None]) -> None:
    async with observed(resource, settings.control_address, settings.spans_endpoint):
        await served


async def stop_requested() -> None:
    """Return when SIGTERM or SIGINT arrives."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    logger.info("draining")
    fault_point("during_drain")


@contextmanager
def ready_file(home: Path, service: str, address: str) -> Iterator[None]:
    """Say in `run/<service>.json` that the process serves at `address`, while the context lasts.

    A newer process may have put its own there by the end; that one stays. Raises `StorageUnavailable` when the folder
    is not writable.
    """
    path = home / "run" / f"{service}.json"
    partial = path.with_suffix(f".{os.getpid()}")
    ours = json.dumps({"service": service, "pid": os.getpid(), "address": address})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(ours)
        partial.replace(path)
    except OSError as error:
        raise StorageUnavailable(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Make the folder writable, or set WAYSTATION_HOME to another one.",
            path=path,
        ) from error
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if path.read_text() == ours:
                path.unlink()
