"""What a process exports follows its mode, and nobody waits for a control plane that is away."""

import asyncio
import logging
import time

from opentelemetry.sdk.resources import Resource

from shared.telemetry.log_export import LogExport
from shared.telemetry.mode import Mode
from shared.telemetry.observed import DebugExports, observed
from shared.telemetry.resources import process_resources

NOBODY = "127.0.0.1:1"


def exporting() -> int:
    return sum(isinstance(handler, LogExport) for handler in logging.getLogger().handlers)


async def test_debug_exports_logs_and_shipping_ends_it_at_once() -> None:
    exports = DebugExports(Resource({}), NOBODY)
    exports.switch(Mode.SHIPPING)
    assert exporting() == 0
    exports.switch(Mode.DEBUG)
    exports.switch(Mode.DEBUG)
    assert exporting() == 1
    logging.getLogger("services.test").warning("nobody will get this")
    started = time.perf_counter()
    exports.switch(Mode.SHIPPING)
    assert time.perf_counter() - started < 10
    await asyncio.wait_for(exports.close(), 15)
    assert exporting() == 0


async def test_a_process_without_a_control_plane_is_observed_too() -> None:
    async with observed(Resource({}), "", ""):
        await asyncio.sleep(0)  # the sampler's first turn
        assert process_resources.newest.rss_bytes > 0
