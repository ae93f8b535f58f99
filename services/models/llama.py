"""llama.cpp's native server, one for each model file, in this process: slots with continuous batching."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import xllamacpp

from services.models.backend import Refused, Reply
from services.models.settings import ModelsSettings
from shared.errors import WaystationError
from shared.models.manifest import ModelEntry, load_manifest
from shared.models.store import ModelStore

logger = logging.getLogger(__name__)

PROMPT_CACHE_MIB = 256
QUIET = -1


@dataclass
class _Model:
    entry: ModelEntry
    server: Any = None
    """xllamacpp's server; None while it is loading or when there is no file."""
    problem: str = "is loading"
    in_flight: int = 0
    loaded: asyncio.Event = field(default_factory=asyncio.Event)


class LlamaBackend:
    """Serves the manifest's chat models whose files are there. Open it with `open`, close it with `close`."""

    def __init__(self, settings: ModelsSettings) -> None:
        self._settings = settings
        self._store = ModelStore(settings.home / "models")
        entries = [entry for entry in load_manifest() if not entry.is_bundled]
        self._models = {entry.name: _Model(entry) for entry in entries}
        self._client = httpx.AsyncClient(trust_env=False, timeout=None, limits=httpx.Limits(max_connections=256))

    async def open(self) -> None:
        """Load every model whose file is there and whole; the others say why they are not served."""
        await asyncio.gather(*(self._load(model) for model in self._models.values()))

    async def close(self) -> None:
        """Stop the servers."""
        await self._client.aclose()
        for model in self._models.values():
            model.server = None

    def models(self) -> Sequence[str]:
        """The models that are loaded."""
        return [name for name, model in self._models.items() if model.server]

    @asynccontextmanager
    async def chat(self, body: Mapping[str, Any]) -> AsyncIterator[Reply]:
        """Pass the request to the model's server; leaving closes the connection, which frees its slot."""
        model = self._model(str(body.get("model") or ""))
        await model.loaded.wait()
        if model.server is None:
            raise Refused(503, "model_missing", f"The model {model.entry.name} {model.problem}")
        if model.in_flight >= self._settings.slots + self._settings.max_waiting:
            raise Refused(429, "queue_full", f"{model.in_flight} requests for {model.entry.name} are under way.")
        model.in_flight += 1
        try:
            url = f"{model.server.listening_address}/v1/chat/completions"
            async with self._client.stream("POST", url, json=dict(body)) as response:
                media_type = response.headers.get("content-type", "application/json")
                yield Reply(response.status_code, media_type, response.aiter_raw())
        except httpx.HTTPError as error:
            raise Refused(502, "model_failed", f"llama.cpp failed: {error}") from error
        finally:
            model.in_flight -= 1

    def _model(self, name: str) -> _Model:
        if not name:
            return next(iter(self._models.values()))
        if name not in self._models:
            raise Refused(404, "model_not_found", f"There is no model {name!r}; known: {', '.join(self._models)}.")
        return self._models[name]

    async def _load(self, model: _Model) -> None:
        try:
            path = await asyncio.to_thread(self._store.find, model.entry)
            model.server = await asyncio.to_thread(self._start, path)
            logger.info("%s is loaded", model.entry.name)
        except (WaystationError, RuntimeError) as error:
            model.problem = f"is not served: {error}"
            logger.warning("%s %s", model.entry.name, model.problem)
        finally:
            model.loaded.set()

    def _start(self, path: Path) -> Any:
        settings, parameters = self._settings, xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = settings.context_tokens
        parameters.n_parallel = settings.slots
        parameters.kv_unified = True  # a long request may use what the short ones leave
        parameters.n_batch = parameters.n_ubatch = settings.batch_tokens
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = settings.threads
        parameters.cache_ram_mib = PROMPT_CACHE_MIB
        parameters.port = 0
        parameters.ui = False
        parameters.fit_params = False
        parameters.verbosity = QUIET
        return xllamacpp.Server(parameters)
