"""Chat replies by llama.cpp: one native server per model file, reached so that leaving clients are noticed at once."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from services.models.backend import Piece
from services.models.chat_request import ChatRequest
from services.models.llama_server import LlamaOptions, LlamaServer
from services.models.settings import ModelsSettings
from services.models.slots import Slot, SlotPool
from shared.errors import InvalidInput, ModelUnavailable, NotFound, WaystationError
from shared.models.manifest import CHAT_MODEL, LOW_EFFORT_CHAT_MODEL, ModelEntry, load_manifest
from shared.models.store import ModelStore

logger = logging.getLogger(__name__)

ALIASES = {"default": CHAT_MODEL, "chat": CHAT_MODEL, "low": LOW_EFFORT_CHAT_MODEL}
MAX_DEFAULT_THREADS = 8
CONNECT_TIMEOUT_S = 5.0

StartServer = Callable[[Path, LlamaOptions], LlamaServer]
"""Loads a model file and serves it."""


class NativeModel:
    """One model: loaded when it is first wanted, then answering as many requests at once as it has slots."""

    def __init__(
        self,
        entry: ModelEntry,
        store: ModelStore,
        settings: ModelsSettings,
        client: httpx.AsyncClient,
        start: StartServer,
    ) -> None:
        self.entry = entry
        self._store = store
        self._options = LlamaOptions(
            slots=settings.slots,
            context_tokens=settings.context_tokens,
            prompt_batch_tokens=settings.prompt_batch_tokens,
            threads=settings.threads or min(os.cpu_count() or 1, MAX_DEFAULT_THREADS),
        )
        self._client = client
        self._start = start
        self._slots = SlotPool(settings.slots, settings.max_waiting)
        self._loading = asyncio.Lock()
        self._server: LlamaServer | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self._server is not None

    async def preload(self) -> None:
        """Load the model if its file is there; what is wrong with it is logged, and told to whoever wants it."""
        if self._store.state(self.entry) == "missing":
            return
        try:
            await self.load()
        except WaystationError as error:
            logger.error("%s", error)

    async def load(self) -> LlamaServer:
        """Load the model unless it is loaded. Raises ModelMissing, ModelCorrupt or ModelUnavailable."""
        async with self._loading:
            if self._server is None:
                path = await asyncio.to_thread(self._store.verified, self.entry)
                try:
                    # It keeps the interpreter to itself for its two seconds or so; a thread would not help.
                    self._server = self._start(path, self._options)
                except RuntimeError as error:
                    raise ModelUnavailable(
                        f"llama.cpp cannot load {self.entry.name}: {error}.",
                        remedy="Is there enough memory? `waystation models verify` checks the file.",
                        model=self.entry.name,
                    ) from error
                logger.info("%s is ready", self.entry.name)
            return self._server

    async def close(self) -> None:
        """Free the model."""
        if self._server is not None:
            await asyncio.to_thread(self._server.close)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """See `Backend.chat`."""
        server = await self.load()
        async with self._slots.hold(json.dumps(request.messages, ensure_ascii=False)) as slot:
            async with aclosing(self._receive(server, llama_body(request, slot.number), slot)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _receive(self, server: LlamaServer, body: Mapping[str, Any], slot: Slot) -> AsyncGenerator[Piece, None]:
        headers = {"Authorization": f"Bearer {server.key}"}
        url = f"{server.url}/v1/chat/completions"
        try:
            async with self._client.stream("POST", url, json=body, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    raise refusal(await response.aread(), response.status_code, self.entry.name)
                async for chunk in chunks_of(response):
                    if "error" in chunk:
                        raise refusal(json.dumps(chunk).encode(), httpx.codes.INTERNAL_SERVER_ERROR, self.entry.name)
                    for piece in pieces_of(chunk):
                        slot.unread = 0
                        yield piece
        except httpx.HTTPError as error:
            raise ModelUnavailable(
                f"llama.cpp broke off while answering with {self.entry.name}: {error or type(error).__name__}.",
                model=self.entry.name,
            ) from error


class NativeBackend:
    """All chat models of the manifest. Needs a running event loop."""

    def __init__(self, settings: ModelsSettings, start: StartServer = LlamaServer) -> None:
        store = ModelStore(settings.home)
        # llama.cpp closes kept connections at moments of its own: each request gets a new one.
        self._client = httpx.AsyncClient(
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._models = {
            entry.name: NativeModel(entry, store, settings, self._client, start)
            for entry in load_manifest()
            if not entry.is_bundled
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the models whose files are there, before anything is served, and free all at the end."""
        try:
            for model in self._models.values():
                await model.preload()
            yield
        finally:
            await asyncio.gather(*(model.close() for model in self._models.values()))
            await self._client.aclose()

    def model_states(self) -> Mapping[str, str]:
        """See `Backend.model_states`."""
        return {name: "ready" if model.is_ready else "absent" for name, model in self._models.items()}

    def resolve(self, name: str) -> str:
        """See `Backend.resolve`."""
        proper = ALIASES.get(name, name)
        if proper not in self._models:
            known = ", ".join((*self._models, *ALIASES))
            raise NotFound(f"There is no chat model {name!r} here.", remedy=f"Known names: {known}.", known=known)
        return proper

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """See `Backend.chat`."""
        async with aclosing(self._models[self.resolve(request.model)].chat(request)) as pieces:
            async for piece in pieces:
                yield piece


def llama_body(request: ChatRequest, slot: int) -> dict[str, Any]:
    """The request as llama.cpp's server gets it."""
    body: dict[str, Any] = {
        **request.sampling,
        "messages": request.messages,
        "max_tokens": request.max_tokens,
        "id_slot": slot,
        "stream": True,
        "stream_options": {"include_usage": True},
        # llama.cpp looks whether the client is still there only when it has something to send: so it reports each
        # prompt batch, or a request that is left while its prompt is read would be read to the end.
        "return_progress": True,
    }
    if request.schema is not None:
        schema = {"name": request.schema_name or "reply", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.is_json:
        body["response_format"] = {"type": "json_object"}
    return body


async def chunks_of(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON documents of a server-sent event stream."""
    async for line in response.aiter_lines():
        name, _, value = line.partition(":")
        if name in ("data", "error") and (value := value.strip()) != "[DONE]":
            document = json.loads(value)
            yield document if name == "data" else {"error": document}


def pieces_of(chunk: Mapping[str, Any]) -> list[Piece]:
    """What a chunk of llama.cpp adds to the reply: nothing when it only tells the progress of the prompt."""
    usage = chunk.get("usage")
    pieces = []
    for choice in chunk.get("choices") or ():
        delta = {key: value for key, value in choice.get("delta", {}).items() if key != "role" and value}
        reason = choice.get("finish_reason") or ""
        if delta or reason:
            pieces.append(Piece(delta, reason))
    if usage and "prompt_progress" not in chunk:
        pieces.append(Piece({}, usage=usage))
    return pieces


def refusal(body: bytes, status: int, model: str) -> WaystationError:
    """The error that llama.cpp's error document stands for."""
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error.get("type", ""))
    except (ValueError, KeyError, TypeError):
        message, kind = body[:200].decode(errors="replace"), ""
    if kind == "exceed_context_size_error":
        return InvalidInput(
            f"The prompt is longer than the context: {message}.",
            remedy="Shorten it, or raise WAYSTATION_MODELS_CONTEXT_TOKENS.",
            field="messages",
            code="context_length_exceeded",
        )
    if status == httpx.codes.BAD_REQUEST:
        return InvalidInput(f"llama.cpp refuses the request: {message}.", field="body")
    return ModelUnavailable(f"llama.cpp could not answer with {model}: {message}.", model=model)
