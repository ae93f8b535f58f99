"""Only pages and programs of this machine get through."""

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from services.control.gateway.host_guard import MAX_BODY_BYTES, HostGuard


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def status(headers: list[tuple[str, str]], allowed: tuple[str, ...] = ()) -> int:
    transport = httpx.ASGITransport(HostGuard(hello, allowed))
    async with httpx.AsyncClient(transport=transport, base_url="http://placeholder") as client:
        return (await client.get("/", headers=headers)).status_code


@pytest.mark.parametrize("host", ["localhost", "LocalHost:7480", "127.0.0.1:7480", "[::1]:7480", "[::1]"])
async def test_loopback_names_pass(host: str) -> None:
    assert await status([("host", host)]) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7480",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "0.0.0.0",
        "",
        "x@localhost",
        "localhost/x",
        "localhost?x",
        "localhost#x",
        "localhost:x",
        "[::1",
    ],
)
async def test_other_hosts_are_refused(host: str) -> None:
    assert await status([("host", host)]) == 403


async def test_two_hosts_are_refused() -> None:
    assert await status([("host", "localhost"), ("host", "localhost")]) == 403


async def test_a_host_can_be_allowed_by_setting() -> None:
    assert await status([("host", "control:7480")], ("control",)) == 200


@pytest.mark.parametrize(
    "origin, expected",
    [
        ("http://localhost:3000", 200),
        ("https://127.0.0.1", 200),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("file://localhost", 403),
        ("null", 403),
        ("", 403),
    ],
)
async def test_origins(origin: str, expected: int) -> None:
    assert await status([("host", "localhost"), ("origin", origin)]) == expected


@pytest.mark.parametrize(
    "header, expected",
    [
        (("content-length", str(MAX_BODY_BYTES)), 200),
        (("content-length", str(MAX_BODY_BYTES + 1)), 413),
        (("content-length", "9" * 5_000), 413),
        (("content-length", "-1"), 411),
        (("transfer-encoding", "chunked"), 411),
    ],
)
async def test_bodies_are_bounded(header: tuple[str, str], expected: int) -> None:
    assert await status([("host", "localhost"), header]) == expected
