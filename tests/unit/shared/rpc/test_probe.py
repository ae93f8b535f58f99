"""The probe of container health checks: what serves, what drains, what is not there."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpc_health.v1 import health_pb2

from shared.rpc.probe import failure_of
from shared.rpc.server import RpcServer


@pytest.fixture
async def server() -> AsyncIterator[RpcServer]:
    async with RpcServer("127.0.0.1", 0, lambda server: None, ()) as running:
        yield running


@asynccontextmanager
async def http_page(status: str) -> AsyncIterator[str]:
    """Answer every request with an empty page of this status; yields the page's URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/health"


async def test_a_door_that_serves_has_no_failure(server: RpcServer) -> None:
    assert await asyncio.to_thread(failure_of, server.address) == ""


async def test_a_door_that_drains_says_so(server: RpcServer) -> None:
    await server._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
    assert (await asyncio.to_thread(failure_of, server.address)).endswith("NOT_SERVING")


@pytest.mark.parametrize("door", ["127.0.0.1:1", "http://127.0.0.1:1/health", "http://[::1"])
def test_a_door_that_is_not_there_is_named(door: str) -> None:
    assert failure_of(door, 1.0).startswith(door)


async def test_an_http_door_must_answer_200() -> None:
    async with http_page("200 OK") as url:
        assert await asyncio.to_thread(failure_of, url) == ""
    async with http_page("503 Service Unavailable") as url:
        assert (await asyncio.to_thread(failure_of, url)).endswith("HTTP 503")


async def test_the_exit_status_is_what_a_container_engine_reads(server: RpcServer) -> None:
    async def run(*arguments: str) -> tuple[int | None, bytes]:
        command = (sys.executable, "-m", "shared.rpc.probe", *arguments)
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        _, stderr = await process.communicate()
        return process.returncode, stderr

    passed, absent, unused = await asyncio.gather(run(server.address), run("127.0.0.1:1"), run())
    assert passed == (0, b"")
    assert absent == (1, b"127.0.0.1:1: UNAVAILABLE\n")
    assert unused[0] == 1 and b"usage" in unused[1]
