"""From rows to LangGraph's checkpoint tuples; everything is checked against its digest on the way."""

from typing import Any

import apsw
import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.base import SerializerProtocol

from services.agent.checkpoint.encoding import Damage, Fetch, Node, decode
from services.agent.checkpoint.rows import COLUMNS, NODES, CheckpointRow, chunks_of, corrupt, stored_writes
from shared.errors import InvalidInput

_OF_THREAD = f"SELECT {COLUMNS} FROM thread_checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
_NEWEST = f"{_OF_THREAD} ORDER BY seq DESC LIMIT 1"
_ONE = f"{_OF_THREAD} AND checkpoint_id = ?"


def thread_config(thread_id: str, checkpoint_ns: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}}


def read_tuple(
    connection: apsw.Connection, serde: SerializerProtocol, config: RunnableConfig
) -> CheckpointTuple | None:
    """The checkpoint that `config` names, or the newest of its thread."""
    configurable = config["configurable"]
    key = (str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "")
    if checkpoint_id := configurable.get("checkpoint_id"):
        found: Any = connection.execute(_ONE, (*key, checkpoint_id)).get
    else:
        found = connection.execute(_NEWEST, key).get
    return tuple_of(connection, serde, CheckpointRow(*found)) if found else None


def tuple_of(connection: apsw.Connection, serde: SerializerProtocol, row: CheckpointRow) -> CheckpointTuple:
    """The checkpoint of a row, with its writes. Raises `StorageCorrupt`, and `InvalidInput` for a forbidden type."""
    row.check()
    fetch = chunks_of(connection, row.thread_id)
    checkpoint: Checkpoint = serde.loads_typed(("msgpack" if row.type == NODES else row.type, row.body))
    if row.type == NODES:
        nodes = checkpoint["channel_values"]
        checkpoint["channel_values"] = {
            channel: _value(serde, row, channel, node, fetch) for channel, node in nodes.items()
        }
    parent = thread_config(row.thread_id, row.checkpoint_ns, row.parent_id) if row.parent_id else None
    config = thread_config(row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    writes = _pending_writes(connection, serde, row, fetch)
    return CheckpointTuple(config, checkpoint, orjson.loads(row.metadata), parent, writes)


def _pending_writes(
    connection: apsw.Connection, serde: SerializerProtocol, row: CheckpointRow, fetch: Fetch
) -> list[PendingWrite]:
    stored = stored_writes(connection, row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    return [
        (task.task_id, channel, _value(serde, row, channel, node, fetch))
        for task in stored
        for _, channel, node in task.writes()
    ]


def _value(serde: SerializerProtocol, row: CheckpointRow, channel: str, node: Node, fetch: Fetch) -> Any:
    try:
        return decode(serde, node, fetch)
    except Damage as error:
        raise corrupt(row.thread_id, row.checkpoint_id, [channel], str(error)) from error
    except InvalidInput as error:
        where = f"Channel {channel!r} of checkpoint {row.checkpoint_id}"
        raise InvalidInput(f"{where}: {error.message}", remedy=error.remedy, channel=channel) from error
