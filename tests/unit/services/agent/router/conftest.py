"""The real embedding model, opened once, and a router that knows the built-in services."""

import asyncio
from collections.abc import Iterator

import pytest

from services.agent.router.authored import builtin_services
from services.agent.router.example_router import ExampleRouter, heuristic_router
from services.agent.router.vectors import CachedVectors
from shared.models.embedder import Embedder


@pytest.fixture(scope="session")
def vectors() -> Iterator[CachedVectors]:
    """Real vectors that are remembered for the whole session."""
    with Embedder() as embedder:
        yield CachedVectors(embedder)


@pytest.fixture(scope="session")
def builtin_router(vectors: CachedVectors) -> ExampleRouter:
    """The embedding router over coding, rag and tools."""
    router = ExampleRouter(vectors, "embedding")
    asyncio.run(router.update(builtin_services()))
    return router


@pytest.fixture(scope="session")
def builtin_heuristic() -> ExampleRouter:
    """The router without a model over coding, rag and tools."""
    router = heuristic_router()
    asyncio.run(router.update(builtin_services()))
    return router
