"""Pages are fetched as text from the address that was checked; redirects, sizes and kinds are held to their rules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from services.tools.addresses import HostGuard
from services.tools.builtin.web import MAX_BODY_BYTES, MAX_TEXT_CHARS, FetchUrl
from services.tools.tool import ToolError

PUBLIC = "93.184.215.14"

Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass
class Site:
    """A resolver with a memory, and a transport that answers for every address."""

    responses: dict[str, httpx.Response]
    """By path."""
    addresses: Sequence[str] = (PUBLIC,)
    asked: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    unreachable: Sequence[str] = ()

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return ("10.0.0.1",) if host == "inside.test" else self.addresses

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self.unreachable:
            raise httpx.ConnectError("no route", request=request)
        return self.responses[request.url.path]

    async def fetch(self, url: str) -> str:
        tool = FetchUrl(HostGuard(self.resolve), httpx.MockTransport(self.answer))
        return (await tool.call({"url": url})).text

    async def refusal(self, url: str) -> str:
        with pytest.raises(ToolError) as caught:
            await self.fetch(url)
        return caught.value.reason


def page(text: str, media_type: str = "text/html") -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": media_type}, stream=httpx.ByteStream(text.encode()))


def redirect(location: str) -> httpx.Response:
    return httpx.Response(302, headers={"Location": location})


async def test_a_page_becomes_its_title_and_visible_text() -> None:
    html = "<head><title>A  page</title><style>p{}</style></head><body><h1>Hi</h1><script>x()</script><p>one <b>two"
    text = await Site({"/": page(html)}).fetch("https://site.test/")
    assert text == "https://site.test/ (A page):\nHi\none\ntwo"


async def test_the_connection_goes_to_the_checked_address_under_the_sites_name() -> None:
    site = Site({"/": page("x", "text/plain")})
    await site.fetch("https://site.test/?q=1#part")
    request = site.requests[0]
    assert request.url == f"https://{PUBLIC}/?q=1"
    assert request.headers["Host"] == "site.test"
    assert request.extensions["sni_hostname"] == "site.test"
    assert site.asked == ["site.test"]


async def test_nothing_of_ours_is_sent() -> None:
    site = Site({"/": redirect("/two"), "/two": page("x", "text/plain")})
    site.responses["/"].headers["Set-Cookie"] = "a=1"
    await site.fetch("https://site.test/")
    assert all(not request.headers.keys() & {"cookie", "authorization", "referer"} for request in site.requests)


async def test_the_next_address_is_tried_when_one_cannot_be_reached() -> None:
    site = Site({"/": page("x", "text/plain")}, addresses=("2606:4700::1111", PUBLIC), unreachable=["2606:4700::1111"])
    assert (await site.fetch("http://site.test/")).endswith("x")
    assert [request.url.host for request in site.requests] == ["2606:4700::1111", PUBLIC]


async def test_every_redirect_is_checked_anew() -> None:
    for location, reason in (
        ("http://inside.test/", "INTERNAL_ADDRESS"),
        ("http://site.test:22/", "FORBIDDEN_PORT"),
        ("file:///etc/passwd", "BAD_URL"),
        ("http://a:b@site.test/", "BAD_URL"),
        ("http://site.test:x/", "FETCH_FAILED"),
    ):
        assert await Site({"/": redirect(location)}).refusal("https://site.test/") == reason


async def test_a_name_that_changes_its_address_between_hops_is_checked_again() -> None:
    site = Site({"/": redirect("/two")})

    async def rebind(request: httpx.Request) -> httpx.Response:
        site.addresses = ("127.0.0.1",)
        return site.responses[request.url.path]

    tool = FetchUrl(HostGuard(site.resolve), httpx.MockTransport(rebind))
    with pytest.raises(ToolError) as caught:
        await tool.call({"url": "http://site.test/"})
    assert caught.value.reason == "INTERNAL_ADDRESS"


async def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    hops = {f"/{number}": redirect(f"/{number + 1}") for number in range(4)} | {"/3": page("end", "text/plain")}
    assert (await Site(dict(hops)).fetch("http://site.test/0")).endswith("end")
    assert await Site(hops | {"/3": redirect("/4")}).refusal("http://site.test/0") == "TOO_MANY_REDIRECTS"


@pytest.mark.parametrize(
    "response, reason",
    [
        (httpx.Response(404, text="no"), "HTTP_STATUS"),
        (httpx.Response(200, headers={"Content-Type": "image/png"}, stream=httpx.ByteStream(b"x")), "NOT_TEXT"),
        (httpx.Response(200, headers={"Content-Type": "text/plain"}, stream=httpx.ByteStream(b"\0\1")), "NOT_TEXT"),
        (page("<div>" * 150_000), "NOT_TEXT"),
    ],
)
async def test_what_is_no_page_is_refused(response: httpx.Response, reason: str) -> None:
    assert await Site({"/": response}).refusal("http://site.test/") == reason


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async def squeezed() -> AsyncIterator[bytes]:
        yield b"never read"

    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    response = httpx.Response(200, headers=headers, content=squeezed())
    assert await Site({"/": response}).refusal("http://site.test/") == "UNSUPPORTED_ENCODING"


async def test_an_endless_answer_is_cut() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b"x" * 65_536

    response = httpx.Response(200, headers={"Content-Type": "text/plain"}, content=endless())
    text = await Site({"/": response}).fetch("http://site.test/")
    assert text.endswith("[cut: the page is longer]")
    assert len(text) < MAX_TEXT_CHARS + 200
    assert sent <= MAX_BODY_BYTES + 65_536


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "hex", "punycode", ""])
async def test_a_strange_charset_is_read_as_utf_8(charset: str) -> None:
    response = page("Grüße", f"text/plain; charset={charset}")
    assert (await Site({"/": response}).fetch("http://site.test/")).endswith("Grüße")


async def test_failures_of_the_network_are_told_apart() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    site = Site({}, unreachable=[PUBLIC])
    assert await site.refusal("http://site.test/") == "FETCH_FAILED"
    with pytest.raises(ToolError) as caught:
        await FetchUrl(HostGuard(site.resolve), httpx.MockTransport(slow)).call({"url": "http://site.test/"})
    assert caught.value.reason == "TIMED_OUT"


async def test_a_permitted_local_server_is_fetched_over_a_real_connection() -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        guard = HostGuard(resolver, permitted=[f"site.test:{port}"])
        output = await FetchUrl(guard).call({"url": f"http://site.test:{port}/path"})
    assert output.content["text"] == "hello"
    assert heads[0].startswith("GET /path HTTP/1.1")
    assert f"Host: site.test:{port}" in heads[0]
