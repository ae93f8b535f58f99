"""A service that is killed around its effect, and the same call made again to its next life."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.capability import Result
from shared.capability.wire import output_from_proto
from shared.errors import InDoubt, PeerUnavailable
from shared.pb import capability_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.interceptors.idempotency import REPEAT_KEY
from shared.rpc.status import peer_errors

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def counter(kind: str, home: Path, faults: str = "") -> AsyncIterator[str]:
    """One life of the service; yields its address."""
    environ = {
        **os.environ,
        "WAYSTATION_HOME": str(home),
        "WAYSTATION_CONTROL_ADDRESS": "",
        "WAYSTATION_FAULTS": faults,
    }
    arguments = ("-m", "tests.fakes.counter_service", kind, str(home / "lines.txt"))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, env=environ)
    ready = home / "run" / "counter.json"
    try:
        async with asyncio.timeout(30):
            while not (document := read(ready)) or json.loads(document)["pid"] != process.pid:
                assert process.returncode is None
                await asyncio.sleep(0.02)
        yield str(json.loads(document)["address"])
    finally:
        if process.returncode is None and not faults:
            process.terminate()
        await asyncio.wait_for(process.wait(), 15)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def call(address: str, *, repeats: bool = False) -> Result:
    request = capability_v1.InvokeRequest(task="count", ids=common_v1.CallIds(idempotency_key="thread/task/hop/0"))
    async with open_channel(address) as channel:
        with peer_errors("counter"):
            metadata = ((REPEAT_KEY, "1"),) if repeats else ()
            responses = capability_v1.CapabilityServiceStub(channel).Invoke(request, timeout=10, metadata=metadata)
            outputs = [output_from_proto(message) async for message in responses]
    assert isinstance(outputs[-1], Result)
    return outputs[-1]


async def kill_at(boundary: str, kind: str, home: Path) -> None:
    async with counter(kind, home, f"{boundary}:kill") as address:
        with pytest.raises(PeerUnavailable):
            await call(address)


@pytest.mark.parametrize("boundary", ["during_call", "while_streaming", "after_effect", "after_record"])
async def test_an_effect_in_the_services_own_file_happens_once(boundary: str, tmp_path: Path) -> None:
    await kill_at(boundary, "transactional", tmp_path)
    async with counter("transactional", tmp_path) as address:
        assert await call(address) == Result("1", is_replayed=boundary == "after_record")
        assert await call(address) == Result("1", is_replayed=True)


@pytest.mark.parametrize("boundary", ["during_call", "after_effect"])
async def test_an_effect_outside_is_asked_about_and_repeated_on_demand_only(boundary: str, tmp_path: Path) -> None:
    await kill_at(boundary, "external", tmp_path)
    was_done = boundary == "after_effect"
    async with counter("external", tmp_path) as address:
        with pytest.raises(InDoubt, match="Attempt 1 of thread/task/hop/0"):
            await call(address)
        assert len(read(tmp_path / "lines.txt").splitlines()) == was_done
        assert await call(address, repeats=True) == Result(str(was_done + 1))
        assert await call(address, repeats=True) == Result(str(was_done + 1), is_replayed=True)


async def test_an_effect_outside_whose_outcome_is_recorded_is_not_done_again(tmp_path: Path) -> None:
    await kill_at("after_record", "external", tmp_path)
    async with counter("external", tmp_path) as address:
        assert await call(address) == Result("1", is_replayed=True)


async def test_a_harmless_effect_is_done_again_without_asking(tmp_path: Path) -> None:
    await kill_at("after_effect", "idempotent", tmp_path)
    async with counter("idempotent", tmp_path) as address:
        assert await call(address) == Result("2")
