"""Opens the router that the settings name, or the best one that works."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.agent.router.example_router import ExampleRouter, heuristic_router
from services.agent.router.generative import GenerativeRouter
from services.agent.router.recommendation import RouterKind
from services.agent.router.router import Router
from services.agent.router.vectors import CachedVectors
from shared.errors import ModelCorrupt, ModelMissing
from shared.models.chat import ChatModel
from shared.models.embedder import Embedder
from shared.models.manifest import EMBEDDING_MODEL, load_manifest

log = logging.getLogger(__name__)

VECTORS_FILE = "vectors.npz"


@contextmanager
def open_router(kind: RouterKind, folder: Path, chat: ChatModel | None = None) -> Iterator[Router]:
    """Open a router and close its embedding model afterwards; vectors are remembered in `folder`.

    `chat` is the model of the generative router, which needs one. Without a usable embedding model the heuristic
    router takes the embedding one's place, and the log says so.
    """
    if kind == "heuristic":
        yield heuristic_router()
        return
    with _examples(folder) as examples:
        yield GenerativeRouter(chat, examples) if kind == "generative" and chat else examples


@contextmanager
def _examples(folder: Path) -> Iterator[ExampleRouter]:
    try:
        embedder = Embedder()
    except (ModelMissing, ModelCorrupt) as error:
        log.warning("Routing goes on without the embedding model: %s", error)
        yield heuristic_router()
        return
    with embedder:
        model_sum = load_manifest().entry(EMBEDDING_MODEL).sha256
        yield ExampleRouter(CachedVectors(embedder, folder / VECTORS_FILE, model_sum), "embedding")
