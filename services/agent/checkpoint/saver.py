"""LangGraph's saver on our SQLite: shared commits, one writer a thread, digests, and storage that grows linearly."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apsw
import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)

from services.agent.checkpoint import retention
from services.agent.checkpoint.encoding import Encoder, Node
from services.agent.checkpoint.heads import NO_HEAD, Head, Heads
from services.agent.checkpoint.listing import Listing
from services.agent.checkpoint.reading import read_tuple, thread_config
from services.agent.checkpoint.rows import (
    NODES,
    CheckpointRow,
    WritesRow,
    check_stored,
    put_checkpoint,
    put_chunks,
    put_writes,
)
from services.agent.checkpoint.serde import StrictSerializer, assert_strict, listen_for_blocked_types
from services.agent.spans import tracer
from shared.errors import InvalidInput, LimitExceeded
from shared.storage.database import Database
from shared.telemetry import attributes

MAX_STATE_BYTES = 32_000_000
"""The most that the values of one checkpoint, or of one task's writes, may take when they are serialized."""
_FIRST_STEP = -1
"""The step of an input checkpoint that LangGraph makes for a thread it found empty, and of no other."""

Version = int | str


@dataclass(frozen=True)
class _Put:
    """A write that is ready for the writer thread."""

    work: Callable[[apsw.Connection], int]
    """Returns how many writes share the transaction."""
    is_one_statement: bool
    size: int
    span_attributes: Mapping[str, str]


class Saver(BaseCheckpointSaver[Any]):
    """Checkpoints in a `Database` that was opened with `tables.SCHEMA`.

    `config["configurable"]` may carry the `epoch` under which its thread was claimed (`ownership.claim`); a write under
    any other epoch, or on a parent that is not the thread's head, raises `StaleEpoch` and changes nothing. Every write
    returns after its commit. The methods without `a` block the calling thread.

    All raise `StorageUnavailable` when the file cannot be used, and `StorageCorrupt` for what is not as it was stored.
    """

    def __init__(self, database: Database) -> None:
        assert_strict()
        listen_for_blocked_types()
        super().__init__(serde=StrictSerializer())
        self._database = database
        self._heads = Heads()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint.

        Raises `StaleEpoch`, `InvalidInput` (a value that cannot be serialized, by channel) and `LimitExceeded`.
        """
        put, row, head = self._checkpoint_put(config, checkpoint, metadata)
        with _Span(put) as span:
            span.report(await self._database.write(put.work, is_one_statement=put.is_one_statement))
        self._heads.remember(row.thread_id, row.checkpoint_ns, head)
        return thread_config(row.thread_id, row.checkpoint_ns, row.checkpoint_id)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`."""
        put, row, head = self._checkpoint_put(config, checkpoint, metadata)
        with _Span(put) as span:
            span.report(self._database.submit(put.work, is_one_statement=put.is_one_statement).result())
        self._heads.remember(row.thread_id, row.checkpoint_ns, head)
        return thread_config(row.thread_id, row.checkpoint_ns, row.checkpoint_id)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote. It waits a millisecond for company: LangGraph puts the step's checkpoint next.

        Raises `StaleEpoch`, `InvalidInput` (a value that cannot be serialized, by channel) and `LimitExceeded`.
        """
        put = self._writes_put(config, writes, task_id, task_path)
        await self._database.write(put.work, can_wait=True, is_one_statement=put.is_one_statement)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`."""
        put = self._writes_put(config, writes, task_id, task_path)
        self._database.submit(put.work, is_one_statement=put.is_one_statement).result()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the newest of its thread; None when there is none."""
        return self.get_tuple(config)  # a read takes less than handing it to a thread does

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`."""
        return self._database.read_here(lambda connection: read_tuple(connection, self.serde, config, self._heads))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, or of all, newest first. Nothing is locked in between."""
        listing = Listing(self.serde, config, filter or {}, before, limit)
        while not listing.is_done:
            for found in await self._database.read(listing.next_page):
                yield found

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`."""
        listing = Listing(self.serde, config, filter or {}, before, limit)
        while not listing.is_done:
            yield from self._database.read_here(listing.next_page)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints and writes of a thread. Its epochs go on."""
        await self._database.write(lambda connection: retention.delete_thread(connection, str(thread_id)))

    def delete_thread(self, thread_id: str) -> None:
        """As `adelete_thread`."""
        self._database.submit(lambda connection: retention.delete_thread(connection, str(thread_id))).result()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that these runs made, and their writes."""
        await self._delete_runs(run_ids, keep_heads=False)

    async def aprune_runs(self, run_ids: Sequence[str]) -> int:
        """As `adelete_for_runs`, but the newest checkpoint of a thread stays. Return how many went."""
        return await self._delete_runs(run_ids, keep_heads=True)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes. Raises `NotFound` (no source) and `AlreadyExists` (target is not empty)."""
        source, target = str(source_thread_id), str(target_thread_id)
        await self._database.write(lambda connection: retention.copy_thread(connection, source, target))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete all checkpoints ("delete"), or all but the newest of each namespace ("keep_latest").

        Raises `InvalidInput` for another strategy.
        """
        if strategy not in ("keep_latest", "delete"):
            raise InvalidInput(f"There is no strategy {strategy!r}.", remedy='Use "keep_latest" or "delete".')
        prune = retention.keep_latest if strategy == "keep_latest" else retention.delete_thread
        for thread_id in map(str, thread_ids):
            await self._database.write(partial(prune, thread_id=thread_id))

    async def size(self) -> retention.StoreSize:
        """What the file takes."""
        return await self._database.read(retention.size)

    def get_next_version(self, current: Version | None, channel: None) -> Version:
        """One more; a thread that the stock saver began goes on with its strings."""
        if isinstance(current, str):
            return f"{int(current.partition('.')[0]) + 1:032}.{0:016}"
        return (current or 0) + 1

    async def _delete_runs(self, run_ids: Sequence[str], keep_heads: bool) -> int:
        wanted = list(run_ids)
        keys = await self._database.read(lambda connection: retention.checkpoints_of_runs(connection, wanted))
        return await self._database.write(lambda connection: retention.delete_checkpoints(connection, keys, keep_heads))

    def _checkpoint_put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[_Put, CheckpointRow, Head]:
        thread_id, checkpoint_ns, parent_id = _key(config)
        epoch = config["configurable"].get("epoch")
        may_branch = _may_branch(metadata, parent_id, epoch)
        # its chunks are known to be there only if the transaction finds that it still is the head
        head = NO_HEAD if may_branch else self._heads.get(thread_id, checkpoint_ns, parent_id)
        encoder = Encoder(self.serde, head.slices)
        nodes = self._nodes(encoder, checkpoint["channel_values"].items())
        _, body = self.serde.dumps_typed({**checkpoint, "channel_values": dict(nodes)})
        full_metadata = get_checkpoint_metadata(config, metadata)
        run_id = full_metadata.get("run_id")
        ids = (thread_id, checkpoint_ns, checkpoint["id"], parent_id, run_id)
        row = CheckpointRow.of((*ids, _json(full_metadata), NODES), body)
        chunks = {digest: data for digest, data in encoder.chunks.items() if digest not in head.digests}

        def work(connection: apsw.Connection) -> int:
            put_checkpoint(connection, row, epoch, may_branch)
            if chunks:
                put_chunks(connection, thread_id, chunks)
            return self._database.batch_size

        size = len(body) + sum(map(len, chunks.values()))
        span_attributes = {attributes.THREAD_ID: thread_id, attributes.RUN_ID: run_id or ""}
        fresh_head = Head(row.checkpoint_id, encoder.digests, encoder.slices)
        return _Put(work, not chunks, size, span_attributes), row, fresh_head

    def _writes_put(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> _Put:
        thread_id, checkpoint_ns, checkpoint_id = _key(config)
        if checkpoint_id is None:
            raise InvalidInput("Writes belong to a checkpoint.", remedy="Name its checkpoint_id in the config.")
        head = self._heads.get(thread_id, checkpoint_ns, checkpoint_id)
        encoder = Encoder(self.serde, head.slices)
        indexed = {
            WRITES_IDX_MAP.get(channel, index): (channel, node)
            for index, (channel, node) in enumerate(self._nodes(encoder, writes))
        }
        row = WritesRow.of((thread_id, checkpoint_ns, checkpoint_id, task_id, task_path), indexed)
        epoch = config["configurable"].get("epoch")
        replaces = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        chunks = {digest: data for digest, data in encoder.chunks.items() if digest not in head.digests}
        relies_on_head = not encoder.digests <= chunks.keys()

        def work(connection: apsw.Connection) -> int:
            if relies_on_head:
                check_stored(connection, thread_id, checkpoint_ns, checkpoint_id)
            put_writes(connection, row, epoch, replaces)
            if chunks:
                put_chunks(connection, thread_id, chunks)
            return self._database.batch_size

        return _Put(work, not chunks, encoder.size, {})

    def _nodes(self, encoder: Encoder, values: Iterable[tuple[str, Any]]) -> Sequence[tuple[str, Node]]:
        nodes = []
        for channel, value in values:
            try:
                nodes.append((channel, encoder.node(channel, value)))
            except InvalidInput as error:
                raise InvalidInput(
                    f"Channel {channel!r}: {error.message}", remedy=error.remedy, channel=channel
                ) from error
        if encoder.size > MAX_STATE_BYTES:
            raise LimitExceeded(
                f"The state takes {encoder.size:,} bytes, more than {MAX_STATE_BYTES:,}.",
                remedy="Keep references to large things in the state, not the things.",
                limit=MAX_STATE_BYTES,
            )
        return nodes


def _key(config: RunnableConfig) -> tuple[str, str, str | None]:
    configurable = config["configurable"]
    checkpoint_id = configurable.get("checkpoint_id")
    return str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "", checkpoint_id or None


def _may_branch(metadata: CheckpointMetadata, parent_id: str | None, epoch: int | None) -> bool:
    """Whether the parent may be another than the head: it is a wish, not a race that was lost."""
    source = metadata.get("source")
    if parent_id is None:
        return not (source == "input" and metadata.get("step") == _FIRST_STEP)
    return source == "fork" or (source == "update" and epoch is not None)


def _json(metadata: CheckpointMetadata) -> str:
    try:
        return orjson.dumps(metadata).decode()
    except orjson.JSONEncodeError as error:
        raise InvalidInput(f"The metadata is not JSON: {error}.", remedy="Keep plain JSON values in it.") from error


class _Span:
    """The span of a put. It is nobody's parent, so it never becomes the current one, which would cost more than it."""

    def __init__(self, put: _Put) -> None:
        self._put = put
        self._span = tracer.start_span(attributes.SPAN_CHECKPOINT_SAVE, attributes=put.span_attributes)
        self._started = time.perf_counter()

    def __enter__(self) -> "_Span":
        self._span.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._span.__exit__(*raised)

    def report(self, batch_size: int) -> None:
        """Say how many writes shared the commit, and how long it took."""
        if self._span.is_recording():
            self._span.set_attribute(attributes.CHECKPOINT_BYTES, self._put.size)
            self._span.set_attribute(attributes.CHECKPOINT_BATCH_SIZE, batch_size)
            self._span.set_attribute(attributes.CHECKPOINT_WAIT_MS, (time.perf_counter() - self._started) * 1e3)
