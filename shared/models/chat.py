"""The chat model behind any OpenAI-compatible server: Ollama, vLLM, llama.cpp, a cloud API, or our own `models`."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol

import aiohttp
import orjson
from opentelemetry import trace

from shared.call_context import current_call
from shared.errors import DeadlineExceeded, LimitExceeded, ModelNonsense, ModelUnavailable
from shared.http_correlation import outgoing_headers
from shared.models.sse import event_data
from shared.telemetry import attributes
from shared.telemetry.content import record_chat

CONNECT_TIMEOUT_S = 2.0
DEFAULT_TIMEOUT_S = 120.0
CLOSING_TIMEOUT_S = 0.2
CONTEXT_ERRORS = ("exceed_context_size", "context_length_exceeded")
"""What llama.cpp and OpenAI call a prompt that does not fit."""
MAX_ERROR_BYTES = 2_000
MAX_NAME_CHARS = 200
MAX_CONNECTIONS = 128
EVENT_STREAM = "text/event-stream"

tracer = trace.get_tracer(__name__)


@dataclass(frozen=True)
class ChatMessage:
    """One turn of the conversation with the model."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatUsage:
    """What one model call cost."""

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    time_to_first_token_s: float = 0.0
    duration_s: float = 0.0


@dataclass(frozen=True)
class ChatDelta:
    """A piece of the reply; the last one has the usage and no text."""

    text: str = ""
    usage: ChatUsage | None = None


@dataclass(frozen=True)
class Completion:
    """A whole reply."""

    text: str
    usage: ChatUsage = field(default_factory=ChatUsage)

    def json(self) -> Any:
        """The reply as JSON. Raises `ModelNonsense` when it is none."""
        try:
            return orjson.loads(self.text)
        except ValueError:
            raise ModelNonsense(f"The model's reply is not JSON: {self.text[:80]!r}.") from None


class ChatModel(Protocol):
    """What nodes and services need of a chat model."""

    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatDelta]:
        """Stream a reply. With `schema` (JSON Schema) the reply is constrained to it. `timeout` is in seconds.

        Raises `ModelUnavailable`, `DeadlineExceeded`, `LimitExceeded` (context or queue full) or `ModelNonsense`.
        """
        ...

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> Completion:
        """The same as one piece."""
        ...


class OpenAiChatModel:
    """A chat model at an OpenAI-compatible URL. Needs a running event loop; close it with `close`."""

    def __init__(self, url: str, model: str, api_key: str = "") -> None:
        self.model = model
        self._shown_url = _without_userinfo(url.rstrip("/"))
        self._url = self._shown_url if api_key else url.rstrip("/")
        self._api_key = api_key
        # a proxy named in the environment is not meant for the mesh, and aiohttp looks at none by itself
        self._session = aiohttp.ClientSession(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> Completion:
        """See `ChatModel.complete`."""
        texts, usage = [], ChatUsage(self.model)
        deltas = self.stream(messages, schema=schema, max_tokens=max_tokens, temperature=temperature, timeout=timeout)
        async for delta in deltas:
            texts.append(delta.text)
            usage = delta.usage or usage
        return Completion("".join(texts), usage)

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        schema: dict[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        timeout: float | None = None,
    ) -> AsyncIterator[ChatDelta]:
        """See `ChatModel.stream`. Leaving the iterator early closes the connection, which frees the model's slot."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": schema.get("title", "reply"), "strict": True, "schema": schema},
            }
        told: dict[str, str | int | float] = {
            attributes.OPERATION: attributes.CHAT,
            attributes.PROVIDER: attributes.OPENAI,
            attributes.MODEL: self.model,
            attributes.MAX_TOKENS: max_tokens,
            attributes.TEMPERATURE: temperature,
        }
        with tracer.start_as_current_span(attributes.SPAN_CHAT, kind=trace.SpanKind.CLIENT, attributes=told) as span:
            texts: list[str] = []
            try:
                async with self._errors(), aclosing(self._receive(body)) as received:
                    async for delta in _until(_deadline(timeout), received):
                        if delta.usage:
                            _record(span, delta.usage)
                        texts.append(delta.text)
                        yield delta
            finally:
                record_chat(span, messages, "".join(texts))

    async def _receive(self, body: dict[str, Any]) -> AsyncGenerator[ChatDelta]:
        started = time.perf_counter()
        first: float | None = None
        reported: dict[str, Any] = {}
        answering = ""
        is_done = False
        async with self._session.post(
            f"{self._url}/chat/completions", data=orjson.dumps(body), headers=outgoing_headers()
        ) as response:
            if response.status != HTTPStatus.OK:
                await self._refuse(response)
            if response.content_type != EVENT_STREAM:
                raise ValueError(f"it is {response.content_type}, not {EVENT_STREAM}")
            async for data in event_data(response.content.iter_any()):
                if data == "[DONE]":
                    is_done = True
                    await _read_to_end(response)
                    break
                chunk = orjson.loads(data)
                if "error" in chunk:
                    raise self._unavailable(str(chunk["error"])[:MAX_ERROR_BYTES])
                reported = chunk.get("usage") or reported
                answering = str(chunk.get("model") or answering)
                for choice in chunk.get("choices", ()):
                    is_done = is_done or choice.get("finish_reason") is not None
                    text = choice.get("delta", {}).get("content") or ""
                    if not isinstance(text, str):
                        raise ValueError("a delta is not text")
                    if text:
                        first = time.perf_counter() if first is None else first
                        yield ChatDelta(text)
        if not is_done:
            raise self._unavailable("the connection ended in the middle of the reply")
        ended = time.perf_counter()
        if answering:
            trace.get_current_span().set_attribute(attributes.RESPONSE_MODEL, answering[:MAX_NAME_CHARS])
        yield ChatDelta(usage=_usage(self.model, reported, (first or ended) - started, ended - started))

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        detail = self._redacted((await response.content.read(MAX_ERROR_BYTES)).decode(errors="replace"))
        is_too_long = any(name in detail for name in CONTEXT_ERRORS)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS or is_too_long:
            raise LimitExceeded(f"The model server refused: {detail}", url=self._shown_url)
        raise self._unavailable(f"HTTP {response.status}: {detail}")

    def _redacted(self, detail: str) -> str:
        # some servers repeat the key that they refuse
        return detail.replace(self._api_key, "[redacted]") if self._api_key else detail

    def _unavailable(self, detail: str) -> ModelUnavailable:
        return ModelUnavailable(
            f"The chat model {self.model} at {self._shown_url} does not answer ({self._redacted(detail)}).",
            remedy="Is the model there? `waystation models pull`, then `waystation up`; or set WAYSTATION_MODEL_URL.",
            url=self._shown_url,
        )

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except aiohttp.ClientError as error:  # first, since some of them are TimeoutErrors or ValueErrors too
            raise self._unavailable(str(error) or type(error).__name__) from error
        except TimeoutError:
            raise DeadlineExceeded(f"The chat model {self.model} took longer than it may.") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelNonsense(f"The model server's reply breaks the protocol: {error}.") from error


def _deadline(explicit: float | None) -> float:
    """On the event loop's clock."""
    wanted = DEFAULT_TIMEOUT_S if explicit is None else explicit
    call_context = current_call()
    return asyncio.get_running_loop().time() + (call_context.timeout_s(wanted) if call_context else wanted)


async def _until(deadline: float, deltas: AsyncIterator[ChatDelta]) -> AsyncIterator[ChatDelta]:
    """Raise `TimeoutError` at the deadline, but only while waiting for a delta.

    A timeout around the `yield` would cancel whatever the consumer is doing then.
    """
    while True:
        async with asyncio.timeout_at(deadline):
            delta = await anext(deltas, None)
        if delta is None:
            return
        yield delta


def _without_userinfo(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _usage(model: str, reported: dict[str, Any], first_s: float, duration_s: float) -> ChatUsage:
    details = reported.get("prompt_tokens_details") or {}
    return ChatUsage(
        model=model,
        input_tokens=int(reported.get("prompt_tokens", 0)),
        output_tokens=int(reported.get("completion_tokens", 0)),
        cached_tokens=int(details.get("cached_tokens", 0)),
        time_to_first_token_s=first_s,
        duration_s=duration_s,
    )


def _record(span: trace.Span, usage: ChatUsage) -> None:
    span.set_attributes(
        {
            attributes.INPUT_TOKENS: usage.input_tokens,
            attributes.OUTPUT_TOKENS: usage.output_tokens,
            attributes.CACHED_TOKENS: usage.cached_tokens,
            attributes.TIME_TO_FIRST_CHUNK: usage.time_to_first_token_s,
        }
    )


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """Read what follows the last event, so that the connection can be used again, unless the server keeps it open."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(CLOSING_TIMEOUT_S):
            while await response.content.readany():
                pass
