"""From rows to LangGraph's checkpoint tuples; everything is checked against its digest on the way."""

from typing import Any

import apsw
import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol

from services.agent.checkpoint.encoding import Damage, Decoder, Node
from services.agent.checkpoint.heads import NO_HEAD, Head, Heads
from services.agent.checkpoint.rows import COLUMNS, NODES, CheckpointRow, chunks_of, corrupt, stored_writes
from shared.errors import InvalidInput

_OF_THREAD = f"SELECT {COLUMNS} FROM thread_checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
_NEWEST = f"{_OF_THREAD} ORDER BY seq DESC LIMIT 1"
_ONE = f"{_OF_THREAD} AND checkpoint_id = ?"


def thread_config(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def read_tuple(
    connection: apsw.Connection, serde: SerializerProtocol, config: RunnableConfig, heads: Heads
) -> CheckpointTuple | None:
    """The checkpoint that `config` names, or the newest of its thread, which `heads` then remembers."""
    configurable = config["configurable"]
    key = (str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "")
    checkpoint_id = configurable.get("checkpoint_id")
    found: Any = connection.execute(*((_ONE, (*key, checkpoint_id)) if checkpoint_id else (_NEWEST, key))).get
    if not found:
        return None
    row = CheckpointRow(*found)
    return tuple_of(connection, serde, row, None if checkpoint_id else heads)


def tuple_of(
    connection: apsw.Connection, serde: SerializerProtocol, row: CheckpointRow, heads: Heads | None = None
) -> CheckpointTuple:
    """The checkpoint of a row, with its writes. Raises `StorageCorrupt`, and `InvalidInput` for a forbidden type.

    `heads` is given for the head of a thread.
    """
    row.check()
    checkpoint: Checkpoint = serde.loads_typed(("msgpack" if row.type == NODES else row.type, row.body))
    if row.type == NODES:
        checkpoint["channel_values"] = _values(connection, serde, row, checkpoint["channel_values"], heads)
    parent = thread_config(row.thread_id, row.checkpoint_ns, row.parent_id) if row.parent_id else None
    config = thread_config(row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    writes = _pending_writes(connection, serde, row)
    return CheckpointTuple(config, checkpoint, orjson.loads(row.metadata), parent, writes)


def _values(
    connection: apsw.Connection,
    serde: SerializerProtocol,
    row: CheckpointRow,
    nodes: dict[str, Node],
    heads: Heads | None,
) -> dict[str, Any]:
    known = heads.get(row.thread_id, row.checkpoint_ns, row.checkpoint_id) if heads else NO_HEAD
    digests: set[bytes] = set(known.digests)
    decoder = Decoder(serde, chunks_of(connection, row.thread_id, digests), known.slices)
    values = {channel: _value(decoder, row, channel, node) for channel, node in nodes.items()}
    if heads and len(digests) > len(known.digests):
        heads.remember(row.thread_id, row.checkpoint_ns, Head(row.checkpoint_id, frozenset(digests), decoder.slices))
    return values


def _pending_writes(connection: apsw.Connection, serde: SerializerProtocol, row: CheckpointRow) -> list[PendingWrite]:
    decoder = Decoder(serde, chunks_of(connection, row.thread_id), {})
    stored = stored_writes(connection, row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    return [
        (task.task_id, channel, _value(decoder, row, channel, node))
        for task in stored
        for _, channel, node in task.writes()
    ]


def _value(decoder: Decoder, row: CheckpointRow, channel: str, node: Node) -> Any:
    try:
        return decoder.value(channel, node)
    except Damage as error:
        raise corrupt(row.thread_id, row.checkpoint_id, [channel], str(error)) from error
    except InvalidInput as error:
        where = f"Channel {channel!r} of checkpoint {row.checkpoint_id}"
        raise InvalidInput(f"{where}: {error.message}", remedy=error.remedy, channel=channel) from error
