"""Where sentence vectors come from: the embedding model with a cache on disk, or nowhere."""

import asyncio
import hashlib
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

MAX_EXPECTED = 256


class Vectors(Protocol):
    """Turns texts into sentence vectors."""

    async def of_examples(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector per text, shape (len(texts), dimensions); `texts` are all that is in use now."""
        ...

    def expect_query(self, query: str) -> None:
        """Begin with a query that will be asked for in a moment."""
        ...

    async def of_query(self, query: str) -> NDArray[np.float32]:
        """Return one vector, shape (1, dimensions)."""
        ...


class Embeds(Protocol):
    """What is used of `shared.models.embedder.Embedder`."""

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector of length 1 per text."""
        ...


class NoVectors:
    """Vectors of no dimension, for routing without a model."""

    async def of_examples(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Vectors.of_examples`."""
        return np.zeros((len(texts), 0), dtype=np.float32)

    def expect_query(self, query: str) -> None:
        """See `Vectors.expect_query`."""

    async def of_query(self, query: str) -> NDArray[np.float32]:
        """See `Vectors.of_query`."""
        return np.zeros((1, 0), dtype=np.float32)


class CachedVectors:
    """The model's vectors; examples are embedded once and remembered, also in a file when `path` is given.

    `model_sum` identifies the model: vectors of another one are not used. The file is only a saving of seconds, so
    one that cannot be read or written is logged and done without.
    """

    def __init__(self, embedder: Embeds, path: Path | None = None, model_sum: str = "") -> None:
        self._embedder = embedder
        self._path = path
        self._model_sum = model_sum
        self._known: dict[bytes, NDArray[np.float32]] | None = None
        self._expected: dict[str, asyncio.Task[NDArray[np.float32]]] = {}

    def expect_query(self, query: str) -> None:
        """See `Vectors.expect_query`."""
        if query not in self._expected:
            if len(self._expected) >= MAX_EXPECTED:  # some are never asked for
                self._expected.pop(next(iter(self._expected)))
            task = self._expected[query] = asyncio.create_task(self._embedder.aembed([query]))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever asks hears of it

    async def of_query(self, query: str) -> NDArray[np.float32]:
        """See `Vectors.of_query`."""
        expected = self._expected.pop(query, None)
        return await (expected or self._embedder.aembed([query]))

    async def of_examples(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Vectors.of_examples`."""
        known = self._known if self._known is not None else await asyncio.to_thread(self._load)
        keys = [hashlib.sha256(text.encode(errors="replace")).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            found = await self._embedder.aembed(list(missing.values()))
            known = known | dict(zip(missing, found, strict=True))
        self._known = {key: known[key] for key in keys}  # What is no longer in use is forgotten.
        if missing and self._path:
            await asyncio.to_thread(self._save, self._path, self._known)
        return np.stack([known[key] for key in keys])

    def _load(self) -> dict[bytes, NDArray[np.float32]]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            # Opened here, since np.load leaves a damaged archive open.
            with self._path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                if str(file["model"]) != self._model_sum:
                    return {}
                pairs = zip(file["keys"], file["vectors"].astype(np.float32), strict=True)
                return {key.tobytes(): vector for key, vector in pairs}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("The router's vectors in %s cannot be used and are made again: %s", self._path, error)
            return {}

    def _save(self, path: Path, known: dict[bytes, NDArray[np.float32]]) -> None:
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        keys = np.frombuffer(b"".join(known), dtype=np.uint8).reshape(len(known), -1)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez(file, model=np.array(self._model_sum), keys=keys, vectors=np.stack(list(known.values())))
            partial.replace(path)
        except OSError as error:
            log.warning("The router's vectors cannot be kept in %s: %s", path, error)
