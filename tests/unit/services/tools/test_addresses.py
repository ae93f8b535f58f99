"""Only public addresses pass, in whatever dress an internal one comes."""

from collections.abc import Sequence

import httpx
import pytest

from services.tools.addresses import HostGuard, is_public, resolve
from services.tools.tool import ToolError


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_pass(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:1:2:3:4:5:6",
    ],
)
def test_internal_addresses_do_not(address: str) -> None:
    assert not is_public(address)


def guard_of(*addresses: str, permitted: Sequence[str] = ()) -> HostGuard:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return addresses

    return HostGuard(resolver, permitted=permitted)


async def refusal(guard: HostGuard, url: str) -> str:
    with pytest.raises(ToolError) as caught:
        await guard.check(httpx.URL(url))
    return caught.value.reason


async def test_the_checked_addresses_are_handed_out() -> None:
    assert await guard_of("8.8.8.8", "8.8.4.4").check(httpx.URL("https://site.test/")) == ("8.8.8.8", "8.8.4.4")


async def test_one_internal_address_among_public_ones_refuses_the_host() -> None:
    assert await refusal(guard_of("8.8.8.8", "10.0.0.1"), "http://site.test/") == "INTERNAL_ADDRESS"


@pytest.mark.parametrize(
    "url, reason",
    [
        ("ftp://site.test/", "BAD_URL"),
        ("file:///etc/passwd", "BAD_URL"),
        ("//site.test/", "BAD_URL"),
        ("http://", "BAD_URL"),
        ("http://user:password@site.test/", "BAD_URL"),
        ("http://user@site.test/", "BAD_URL"),
        ("http://site.test:22/", "FORBIDDEN_PORT"),
        ("https://site.test:8443/", "FORBIDDEN_PORT"),
    ],
)
async def test_an_address_is_refused_before_its_name_is_resolved(url: str, reason: str) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        raise AssertionError("asked")

    assert await refusal(HostGuard(resolver), url) == reason


async def test_a_name_without_addresses_is_told() -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        raise OSError

    assert await refusal(HostGuard(resolver), "http://site.test/") == "HOST_NOT_FOUND"
    assert await refusal(guard_of(), "http://site.test/") == "HOST_NOT_FOUND"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]"],
)
async def test_loopback_in_any_spelling_is_internal_to_the_system_resolver(host: str) -> None:
    assert await refusal(HostGuard(resolve), f"http://{host}/") == "INTERNAL_ADDRESS"


async def test_what_is_permitted_is_host_and_port_together() -> None:
    guard = guard_of("10.0.0.1", permitted=["Site.test:8080"])
    assert await guard.check(httpx.URL("http://site.test:8080/")) == ("10.0.0.1",)
    assert await refusal(guard, "http://site.test/") == "INTERNAL_ADDRESS"
    assert await refusal(guard, "http://site.test:8081/") == "FORBIDDEN_PORT"
    assert await refusal(guard, "http://other.test:8080/") == "FORBIDDEN_PORT"
