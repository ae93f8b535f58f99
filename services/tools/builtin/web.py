"""HTTP fetch of public pages as text: GET only, no cookies, no credentials, internal addresses refused."""

import asyncio
import codecs
import contextlib
import ipaddress
import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property

import httpx
from pydantic import Field
from selectolax.lexbor import LexborHTMLParser

from services.tools.addresses import HostGuard
from services.tools.tool import Arguments, JsonObject, ToolError, ToolOutput, TypedTool

MAX_REDIRECTS = 3
MAX_ADDRESSES = 3
MAX_BODY_BYTES = 1_000_000
MAX_TEXT_CHARS = 12_000
MAX_DEPTH = 10_000
MAX_URL_CHARS = 2_000

_TIMEOUT = httpx.Timeout(10, connect=5)
_HEADERS = {
    "User-Agent": "waystation-tools/0.1",
    "Accept": "text/html, text/*;q=0.9, application/json;q=0.9, application/xml;q=0.8",
    # A compressed body could unpack to any size; asking for none is simpler than bounding that.
    "Accept-Encoding": "identity",
}
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/javascript")
_CHARSETS = ("utf-8", "utf-16", "iso-8859-", "windows-12", "us-ascii", "gb", "big5", "shift_jis", "euc-", "koi8-")
_TAG = re.compile(r"<(/?)(?!(?:br|img|input|meta|link|hr|wbr|source|p|li|td|tr|th|option)\b)[a-z]", re.IGNORECASE)
_UNSEEN = "script, style, noscript, template, svg, iframe, head"


class FetchUrlArguments(Arguments):
    """One address."""

    url: str = Field(min_length=1, max_length=MAX_URL_CHARS, description="Public http:// or https:// address.")


class FetchUrl(TypedTool[FetchUrlArguments]):
    """The text of a page. Every hop of a redirect is checked anew, and the checked address is the one connected to."""

    name = "fetch_url"
    description = "Text of a public web page."
    arguments = FetchUrlArguments
    timeout = timedelta(seconds=20)

    def __init__(self, guard: HostGuard, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._guard = guard
        self._transport = transport

    async def run(self, arguments: FetchUrlArguments) -> ToolOutput:
        """`content`: url (after redirects), status, media_type, title, text, is_complete."""
        try:
            url = httpx.URL(arguments.url.strip())
        except httpx.InvalidURL as error:
            raise ToolError("BAD_URL", f"The address cannot be read: {error}.") from error
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(url)
            if isinstance(response, ToolOutput):
                return response
            url = response
        raise ToolError("TOO_MANY_REDIRECTS", f"The address leads on more than {MAX_REDIRECTS} times.")

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(trust_env=False)

    def _client(self) -> httpx.AsyncClient:
        # Without trust_env=False a proxy set in the environment would resolve the name again, unchecked.
        return httpx.AsyncClient(
            transport=self._transport, verify=self._ssl_context, trust_env=False, timeout=_TIMEOUT, headers=_HEADERS
        )

    async def _get(self, url: httpx.URL) -> ToolOutput | httpx.URL:
        """One request; the address to go on with when it redirects."""
        addresses = await self._guard.check(url)
        try:
            return await self._get_from_any(url, addresses[:MAX_ADDRESSES])
        except httpx.TimeoutException as error:
            raise ToolError("TIMED_OUT", f"{url.host} did not answer in time.") from error
        except httpx.HTTPError as error:
            raise ToolError("FETCH_FAILED", f"{url.host} could not be fetched: {type(error).__name__}.") from error

    async def _get_from_any(self, url: httpx.URL, addresses: Sequence[str]) -> ToolOutput | httpx.URL:
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError):
                return await self._get_from(url, address)
        return await self._get_from(url, addresses[-1])

    async def _get_from(self, url: httpx.URL, address: str) -> ToolOutput | httpx.URL:
        # The host is replaced by the checked address, so that nobody resolves the name a second time.
        pinned = url.copy_with(host=address, fragment=None)
        headers = {"Host": url.netloc.decode("ascii")}
        # A client for each request: no cookie and no connection is carried to the next, which may be another site's.
        async with (
            self._client() as client,
            client.stream("GET", pinned, headers=headers, extensions=_server_name(url)) as response,
        ):
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            return await self._read(url, response)

    async def _read(self, url: httpx.URL, response: httpx.Response) -> ToolOutput:
        if not response.is_success:
            message = f"{url} answered {response.status_code} {response.reason_phrase}."
            raise ToolError("HTTP_STATUS", message)
        media_type = response.headers.get("Content-Type", "text/plain").partition(";")[0].strip().lower()
        if not media_type.startswith(_TEXT_TYPES) and not media_type.endswith(("+json", "+xml")):
            raise ToolError("NOT_TEXT", f"{url} is {media_type or 'of no known type'}; only text is fetched.")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ToolError("UNSUPPORTED_ENCODING", f"{url.host} sends compressed content though asked not to.")
        body, is_complete = await _bounded_body(response)
        if b"\0" in body[:8_000]:
            raise ToolError("NOT_TEXT", f"{url} is not text.")
        text = body.decode(_charset(response), "replace")
        title = ""
        if media_type in ("text/html", "application/xhtml+xml"):
            title, text = await asyncio.to_thread(_page_text, text)
        return _output(url, response.status_code, media_type, title, text, is_complete)


def _server_name(url: httpx.URL) -> dict[str, str]:
    """The name that the server's certificate must have, which a URL with its host replaced no longer says."""
    host = url.raw_host.decode("ascii")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return {"sni_hostname": host}
    return {}


async def _bounded_body(response: httpx.Response) -> tuple[bytes, bool]:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return bytes(body[:MAX_BODY_BYTES]), False
    return bytes(body), True


def _charset(response: httpx.Response) -> str:
    """The declared one when it is a plain character set: a codec such as punycode takes a minute for a megabyte."""
    name = (response.charset_encoding or "").lower()
    try:
        return codecs.lookup(name).name if name.startswith(_CHARSETS) else "utf-8"
    except LookupError:
        return "utf-8"


def _page_text(html: str) -> tuple[str, str]:
    """Title and visible text, one line for each block."""
    _refuse_deep_nesting(html)
    page = LexborHTMLParser(html)
    found = page.css_first("title")
    title = " ".join(found.text().split()) if found else ""
    for node in page.css(_UNSEEN):
        node.decompose()
    body = page.body or page.root
    lines = body.text(separator="\n").splitlines() if body else []
    return title, "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)


def _refuse_deep_nesting(html: str) -> None:
    """The parser's time grows with the square of the depth: a megabyte of open tags would take it a minute."""
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > MAX_DEPTH:
            raise ToolError("NOT_TEXT", "The page nests its elements too deeply to be a page.")


def _output(url: httpx.URL, status: int, media_type: str, title: str, text: str, is_complete: bool) -> ToolOutput:
    shown = text[:MAX_TEXT_CHARS]
    is_complete = is_complete and len(text) <= MAX_TEXT_CHARS
    content: JsonObject = {"url": str(url), "status": status, "media_type": media_type, "title": title}
    content |= {"text": shown, "is_complete": is_complete}
    head = f"{url}" + (f" ({title})" if title else "")
    return ToolOutput(f"{head}:\n{shown}" + ("" if is_complete else "\n[cut: the page is longer]"), content)
