"""Which hosts a fetch may reach: public addresses, and what the operator has named. Everything else is internal."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence

import httpx

from services.tools.tool import ToolError

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name for a port; raises OSError when there are none."""

DEFAULT_PORTS = frozenset({80, 443})

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MORE_INTERNAL = (
    ipaddress.ip_network("168.63.129.16/32"),  # A cloud's metadata service on an address that looks public.
    ipaddress.ip_network("192.0.0.0/24"),  # IETF protocol assignments; older Pythons call parts of it global.
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays.
    ipaddress.ip_network("fec0::/10"),  # The site-local addresses of old.
)


class HostGuard:
    """Decides on a URL before anything is sent, and gives the very addresses that were checked to connect to.

    `permitted` are "host:port" pairs exempt from the checks on address and port: the operator's own decision.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        ports: Collection[int] = DEFAULT_PORTS,
        permitted: Collection[str] = (),
    ) -> None:
        self._resolve = resolver or resolve
        self._ports = frozenset(ports)
        self._permitted = frozenset(entry.lower() for entry in permitted)

    async def check(self, url: httpx.URL) -> Sequence[str]:
        """The addresses of the URL's host, at least one. All have passed: one internal address refuses the host.

        Raises ToolError BAD_URL, FORBIDDEN_PORT, HOST_NOT_FOUND or INTERNAL_ADDRESS.
        """
        host, port = _host_and_port(url)
        is_permitted = f"{host}:{port}".lower() in self._permitted
        if port not in self._ports and not is_permitted:
            ports = ", ".join(map(str, sorted(self._ports)))
            raise ToolError("FORBIDDEN_PORT", f"Port {port} may not be fetched from; allowed: {ports}.")
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ToolError("HOST_NOT_FOUND", f"The name {host!r} has no address.") from error
        if not addresses:
            raise ToolError("HOST_NOT_FOUND", f"The name {host!r} has no address.")
        if not is_permitted:
            for address in addresses:
                if not is_public(address):
                    raise ToolError(
                        "INTERNAL_ADDRESS", f"{host!r} is an internal address ({address}); it is not fetched."
                    )
        return addresses


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet, an IPv4 address inside an IPv6 one included."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.sixtofour or address.teredo:
            return False
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    if any(address in network for network in _MORE_INTERNAL):
        return False
    # is_global alone lets multicast through.
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _host_and_port(url: httpx.URL) -> tuple[str, int]:
    if url.scheme not in ("http", "https"):
        raise ToolError("BAD_URL", "Only http:// and https:// addresses are fetched.")
    if url.userinfo:
        raise ToolError("BAD_URL", "An address with a user name or password in it is not fetched.")
    if not url.raw_host:
        raise ToolError("BAD_URL", "The address names no host.")
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
