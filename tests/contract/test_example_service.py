"""The example of a service by outsiders, as a process: it registers when it runs, answers, and leaves when told to."""

import asyncio
import os
import sys
from pathlib import Path

from shared.capability import Output, Result
from shared.capability.wire import output_from_proto
from shared.pb import capability_v1, control_v1
from shared.rpc.channel import open_channel
from tests.fakes.registry_service import FakeRegistry, served_registry

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "services" / "words.py"


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 30


async def test_the_example_registers_answers_and_leaves(tmp_path: Path) -> None:
    registry = FakeRegistry()
    async with served_registry(registry) as server:
        environ = {**os.environ, "WAYSTATION_HOME": str(tmp_path), "WAYSTATION_CONTROL_ADDRESS": server.address}
        process = await asyncio.create_subprocess_exec(sys.executable, str(EXAMPLE), cwd=ROOT, env=environ)
        try:
            await registry.until(lambda: bool(registry.of(control_v1.HeartbeatRequest)))
            [request] = registry.of(control_v1.RegisterRequest)
            assert await invoke(request.address, "count the words: to be or not") == [Result("4 words")]
            assert await invoke(request.address, "Reverse: one two three") == [Result("three two one")]
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (request.kind, request.descriptor.name) == ("capability", "words")
    assert len(request.descriptor.examples) == 3 and "word-count" in request.descriptor.tags
    assert registry.of(control_v1.DeregisterRequest)


async def invoke(address: str, task: str) -> list[Output | None]:
    async with open_channel(address) as channel:
        call = capability_v1.CapabilityServiceStub(channel).Invoke(capability_v1.InvokeRequest(task=task), timeout=20)
        return [output_from_proto(message) async for message in call]
