"""Real processes for a measurement: control, a scripted model server, the agent, and one capability."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from shared.errors import DeadlineExceeded, Unavailable
from shared.pb import agent_v1
from shared.rpc.channel import open_channel

START_TIMEOUT_S = 60.0
POLL_S = 0.05


@asynccontextmanager
async def running_stack(
    script: Sequence[Mapping[str, Any]], **settings: str
) -> AsyncIterator["agent_v1.AgentServiceAsyncStub"]:
    """Start everything in a scratch home, yield a stub for the agent, and stop everything.

    `script` is what the scripted model server answers, `settings` are further WAYSTATION_ variables. Raises
    `Unavailable` when a process dies, `DeadlineExceeded` when one is not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="waystation-bench-") as folder:
        home = Path(folder)
        environ = {**_environ(home, script), **settings}
        async with AsyncExitStack() as stack:
            for name, module in (
                ("control", "services.control"),
                ("models", "services.models"),
                ("echo", "services.agent.bench.echo"),
                ("agent", "services.agent"),
            ):
                await stack.enter_async_context(_process(name, module, home, environ))
            address = json.loads((home / "run" / "agent.json").read_text())["address"]
            channel = await stack.enter_async_context(open_channel(address))
            stub = agent_v1.AgentServiceStub(channel)
            await _routable(stub)
            yield stub


def _environ(home: Path, script: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    control, http, models = (free_port() for _ in range(3))
    script_path = home / "script.json"
    script_path.write_text(json.dumps(script))
    return {
        **os.environ,
        "WAYSTATION_HOME": str(home),
        "WAYSTATION_CONTROL_ADDRESS": f"127.0.0.1:{control}",
        "WAYSTATION_CONTROL_PORT": str(control),
        "WAYSTATION_CONTROL_HTTP_PORT": str(http),
        "WAYSTATION_MODELS_PORT": str(models),
        "WAYSTATION_MODEL_URL": f"http://127.0.0.1:{models}/v1",
        "WAYSTATION_MODELS_BACKEND": "scripted",
        "WAYSTATION_MODELS_SCRIPT": str(script_path),
        "WAYSTATION_AGENT_PORT": "0",
        "WAYSTATION_LOG_LEVEL": "WARNING",
    }


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _process(name: str, module: str, home: Path, environ: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=dict(environ))
    try:
        await _ready(name, home, process)
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(name: str, home: Path, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (home / "run" / f"{name}.json").exists():
                if process.returncode is not None:
                    raise Unavailable(f"{name} ended with {process.returncode} before it was ready.")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise DeadlineExceeded(f"{name} was not ready after {START_TIMEOUT_S:g} s.") from None


async def _routable(stub: "agent_v1.AgentServiceAsyncStub") -> None:
    request = agent_v1.RecommendRouteRequest(query="repeat after me: ready")
    async with asyncio.timeout(START_TIMEOUT_S):
        while not (await stub.RecommendRoute(request, timeout=5)).recommendation.candidates:
            await asyncio.sleep(POLL_S)
