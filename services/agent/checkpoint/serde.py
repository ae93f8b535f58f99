"""The serializer of checkpoints: JSON-shaped values, and of other types only those that can be read back."""

import threading
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde import _msgpack
from langgraph.checkpoint.serde.event_hooks import SerdeEvent, register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from shared.errors import InternalError, InvalidInput

_PLAIN = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
    | ormsgpack.OPT_REPLACE_SURROGATES
)
_seen = threading.local()


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer in strict mode; a type that it would turn into a plain value is an error."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Serialize. Raises `InvalidInput` for a value that cannot be written, or not read back as what it is."""
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        try:
            return "msgpack", ormsgpack.packb(obj, option=_PLAIN)
        except ormsgpack.MsgpackEncodeError:
            pass  # not JSON-shaped
        try:
            typed = super().dumps_typed(obj)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInput(
                f"A {type(obj).__name__} cannot be serialized: {error}.", remedy="Keep plain JSON values in the state."
            ) from error
        self.loads_typed(typed)
        return typed

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Deserialize. Raises `InvalidInput` for a type that is not allowed."""
        _seen.blocked = None
        value = super().loads_typed(data)
        if _seen.blocked:
            raise InvalidInput(
                f"The type {_seen.blocked} may not be deserialized.",
                remedy="Keep plain JSON values in the state, or name the type in the state's annotations.",
                type=_seen.blocked,
            )
        return value


def assert_strict() -> None:
    """Raise `InternalError` when LangGraph was imported before strict mode was set."""
    if not _msgpack.STRICT_MSGPACK_ENABLED:
        raise InternalError(
            "LangGraph was imported before LANGGRAPH_STRICT_MSGPACK was set.",
            remedy="Import services.agent before langgraph, or set LANGGRAPH_STRICT_MSGPACK=true.",
        )


def listen_for_blocked_types() -> None:
    """Make blocked types errors. LangGraph only logs them and hands out plain values. Once a process is enough."""
    global _is_listening
    if not _is_listening:
        register_serde_event_listener(_note)
        _is_listening = True


_is_listening = False


def _note(event: SerdeEvent) -> None:
    _seen.blocked = f"{event['module']}.{event['name']}"
