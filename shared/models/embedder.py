"""Turns texts into sentence vectors with the embedding model, in this process, through llama.cpp."""

import asyncio
import hashlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelCorrupt, ModelMissing, WrongState
from shared.models.manifest import DATA, EMBEDDING_MODEL, ModelEntry, load_manifest

MAX_TOKENS = 256
"""What the model was trained on; of a longer text only the first 254 word pieces and the two end marks count."""

MAX_CHARACTERS = 8192
"""Tokenizing stops here, so that a text of a megabyte costs no more than one of a few pages."""

BATCH_TOKENS = 256
"""Tokens computed at once. Measured: more do not raise the throughput of two cores, and make a query wait longer."""

BATCH_TEXTS = 32

LONG_QUERY_TOKENS = 48
"""From here on a query gets two threads when the machine has a core to spare: 256 tokens take 34 ms, not 65."""

_Arguments = TypeVarTuple("_Arguments")
_Outcome = TypeVar("_Outcome")

_MISSING_REMEDY = "It comes with the code: install Waystation again, or run `python -m shared.models.build_minilm`."


@dataclass(frozen=True)
class _Batch:
    """Texts that are computed together."""

    indices: tuple[int, ...]
    """Their places in the caller's sequence."""
    tokens: tuple[list[int], ...]


class Embedder:
    """The embedding model in memory; may be used from several threads and event loops.

    `path` is the GGUF file and `sha256` the sum it must have; both default to the model that comes with the code.
    One thread by default: with two, llama.cpp's spinning barriers make a busy machine five times as slow
    (docs/benchmarks.md). Only a long query on an idle machine gets two.
    Raises ModelMissing when there is no file, ModelCorrupt when its sum is wrong or llama.cpp cannot read it.
    """

    def __init__(self, path: Path | None = None, sha256: str | None = None, *, threads: int = 1) -> None:
        entry = load_manifest().entry(EMBEDDING_MODEL)
        self._path = path or DATA / entry.file
        _check_file(self._path, sha256 or entry.sha256, entry)
        self._threads = threads
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        self._model, self._context = _load(self._path, threads)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._end_mark = llama_cpp.llama_vocab_sep(self._vocabulary)
        self._buffer = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._is_closed = False
        self._queries: deque[tuple[str, Future[NDArray[np.float32]]]] = deque()
        self.dimensions: int = llama_cpp.llama_model_n_embd(self._model)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one vector of length 1 per text: float32, shape (len(texts), 384).

        A text is cut after 256 tokens. Raises WrongState after `close`.
        """
        return self._compute_all(self._plan(texts), self._threads)

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Like `embed`, without blocking the event loop.

        Calls take turns after each batch, so that a query does not wait until a large document is through.
        """
        if len(texts) == 1:
            return (await self._embed_query(texts[0]))[np.newaxis]
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for batch in await self._in_worker(self._plan, texts):
            vectors[list(batch.indices)] = await self._in_worker(self._compute, batch, self._threads)
        return vectors

    async def _embed_query(self, text: str) -> NDArray[np.float32]:
        """Embed one text; those that queue up while the worker is busy are computed together."""
        future: Future[NDArray[np.float32]] = Future()
        self._queries.append((text, future))
        await self._in_worker(self._embed_queries)
        return await asyncio.wrap_future(future)

    def _embed_queries(self) -> None:
        waiting = [self._queries.popleft() for _ in range(min(len(self._queries), BATCH_TEXTS))]
        if not waiting:
            return  # an earlier turn took them all
        try:
            batches = self._plan([query[0] for query in waiting])
            is_long = len(waiting) == 1 and len(batches[0].tokens[0]) >= LONG_QUERY_TOKENS
            threads = 2 if is_long and has_idle_core() else self._threads
            vectors = self._compute_all(batches, threads)
        except Exception as error:  # everybody who waits must hear of it
            for query in waiting:
                query[1].set_exception(error)
            return
        for (_text, future), vector in zip(waiting, vectors, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(vector)

    def close(self) -> None:
        """Wait for the batch that is being computed and free the model; may be called twice."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            llama_cpp.llama_batch_free(self._buffer)
            llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._model)
        self._worker.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _in_worker(self, function: Callable[[*_Arguments], _Outcome], *arguments: *_Arguments) -> _Outcome:
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    def _check_open(self) -> None:
        if self._is_closed:
            raise WrongState("The embedding model is closed.")

    def _plan(self, texts: Sequence[str]) -> list[_Batch]:
        """Pack texts into batches of at most BATCH_TOKENS tokens, shortest first to fill them well."""
        with self._lock:
            self._check_open()
            tokens = [self._tokenize(text) for text in texts]
        groups: list[list[int]] = []
        used = BATCH_TOKENS
        for index in sorted(range(len(tokens)), key=lambda i: len(tokens[i])):
            used += len(tokens[index])
            if used > BATCH_TOKENS or len(groups[-1]) == BATCH_TEXTS:
                groups.append([])
                used = len(tokens[index])
            groups[-1].append(index)
        return [_Batch(tuple(group), tuple(tokens[i] for i in group)) for group in groups]

    def _tokenize(self, text: str) -> list[int]:
        encoded = text[:MAX_CHARACTERS].encode(errors="replace")
        room = len(encoded) + 2
        buffer = (llama_cpp.llama_token * room)()
        # Special tokens are not parsed: "[SEP]" in a text is just what somebody wrote.
        count = llama_cpp.llama_tokenize(self._vocabulary, encoded, len(encoded), buffer, room, True, False)
        tokens = list(buffer[:count])
        return tokens if count <= MAX_TOKENS else [*tokens[: MAX_TOKENS - 1], self._end_mark]

    def _compute_all(self, batches: Sequence[_Batch], threads: int) -> NDArray[np.float32]:
        vectors = np.empty((sum(len(batch.indices) for batch in batches), self.dimensions), dtype=np.float32)
        for batch in batches:
            vectors[list(batch.indices)] = self._compute(batch, threads)
        return vectors

    def _compute(self, batch: _Batch, threads: int) -> NDArray[np.float32]:
        with self._lock:
            self._check_open()
            llama_cpp.llama_set_n_threads(self._context, threads, threads)
            self._fill_buffer(batch.tokens)
            code = llama_cpp.llama_encode(self._context, self._buffer)
            if code != 0:
                raise RuntimeError(f"llama.cpp could not embed {self._buffer.n_tokens} tokens: code {code}")
            rows = [self._pooled(sequence) for sequence in range(len(batch.tokens))]
        vectors = np.stack(rows)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _fill_buffer(self, sequences: Sequence[list[int]]) -> None:
        buffer, slot = self._buffer, 0
        for sequence, tokens in enumerate(sequences):
            for position, token in enumerate(tokens):
                buffer.token[slot] = token
                buffer.pos[slot] = position
                buffer.n_seq_id[slot] = 1
                buffer.seq_id[slot][0] = sequence
                buffer.logits[slot] = 1
                slot += 1
        buffer.n_tokens = slot

    def _pooled(self, sequence: int) -> NDArray[np.float32]:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, sequence)
        return np.array(np.ctypeslib.as_array(pointer, (self.dimensions,)), dtype=np.float32)


def has_idle_core() -> bool:
    """Whether fewer threads want to run than there are cores, over the last minute."""
    return os.getloadavg()[0] < (os.cpu_count() or 1)


def _check_file(path: Path, sha256: str, entry: ModelEntry) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelMissing(
            f"The embedding model {path} cannot be read: {error.strerror}.",
            remedy=_MISSING_REMEDY,
            model=entry.name,
        ) from error
    if found != sha256:
        raise ModelCorrupt(
            f"The embedding model {path} has the wrong sum: {found} instead of {sha256}.",
            remedy=_MISSING_REMEDY,
            model=entry.name,
        )


def _load(path: Path, threads: int) -> tuple[Any, Any]:
    """Return llama.cpp's model and context, opaque pointers both."""
    # llama-cpp-python passes llama.cpp's messages on by this logger's level; what matters is raised as an error.
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if model is None:
        raise ModelCorrupt(f"llama.cpp cannot read {path} as a model.", remedy=_MISSING_REMEDY, model=path.name)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_seq_max = BATCH_TEXTS
    params.n_threads = params.n_threads_batch = threads
    params.embeddings = True
    params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_MEAN
    context = llama_cpp.llama_init_from_model(model, params)
    if context is None:
        llama_cpp.llama_model_free(model)
        raise ModelCorrupt(f"llama.cpp cannot run {path}.", remedy=_MISSING_REMEDY, model=path.name)
    return model, context
