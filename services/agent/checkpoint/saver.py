"""LangGraph's SQLite saver, in WAL mode with full syncs, and a span for each checkpoint."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from services.agent.spans import tracer
from shared.errors import StorageUnavailable
from shared.telemetry import attributes


class TracedSaver(AsyncSqliteSaver):
    """The stock saver; each checkpoint is a span."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; returns after its commit."""
        ids = {
            attributes.THREAD_ID: str(config["configurable"]["thread_id"]),
            attributes.RUN_ID: str(metadata.get("run_id", "")),
        }
        with tracer.start_as_current_span(attributes.SPAN_CHECKPOINT_SAVE, attributes=ids):
            return await super().aput(config, checkpoint, metadata, new_versions)


@asynccontextmanager
async def open_saver(path: Path) -> AsyncIterator[TracedSaver]:
    """Open the checkpoint file. Raises `StorageUnavailable` when that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = aiosqlite.connect(path)
        async with connection:
            saver = TracedSaver(connection)
            await saver.setup()  # sets WAL
            await connection.execute("PRAGMA synchronous = FULL")
            yield saver
    except (OSError, aiosqlite.Error) as error:
        raise StorageUnavailable(
            f"The checkpoints in {path} cannot be used: {error}.",
            remedy="Make the folder writable, or set WAYSTATION_HOME to another one.",
            path=path,
        ) from error
