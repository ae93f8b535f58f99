"""What a message may be. From outside anything else is refused; from a hop it becomes a dead letter."""

from collections.abc import Collection

from google.protobuf.struct_pb2 import Struct

from shared.errors import InvalidInput, NotFound
from shared.pb import common_v1

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_MESSAGES = 256
"""Of one run; those that became dead letters at once do not count."""
MAX_SENT = 64
"""By one hop."""
MAX_INBOX = 32
"""Messages that one hop gets; the others wait for the role's next one."""
MAX_INBOX_BYTES = 256 * 1024
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Of messages that are listed at once, but for the first of them."""
MAX_ID_CHARS = 256
MAX_ROLE_CHARS = 63

OUTSIDE = "user"
"""Who sends a message from outside that names no sender."""


def payload_problem(payload: Struct) -> str:
    """What is wrong with a payload's size; "" when it is good."""
    size = payload.ByteSize()
    return f"its payload has {size} bytes; {MAX_PAYLOAD_BYTES} are possible" if size > MAX_PAYLOAD_BYTES else ""


def role_problem(role: str, roles: Collection[str]) -> str:
    """What is wrong with a recipient; "" when it is one of the run's roles."""
    return "" if role in roles else f"the run has no role {role[:MAX_ROLE_CHARS]!r}"


def check_content(message: common_v1.A2aMessage) -> None:
    """Raise `InvalidInput` for what no message from outside may be."""
    for field in ("message_id", "in_reply_to"):
        if len(getattr(message, field)) > MAX_ID_CHARS:
            raise InvalidInput(f"{field} is longer than {MAX_ID_CHARS} characters.", field=field, limit=MAX_ID_CHARS)
    sender = message.sender_role
    if len(sender) > MAX_ROLE_CHARS or not sender.isprintable():
        raise InvalidInput(f"sender_role is no name of at most {MAX_ROLE_CHARS} characters.", field="sender_role")
    if problem := payload_problem(message.payload):
        raise InvalidInput(f"The message cannot be sent: {problem}.", field="payload", limit=MAX_PAYLOAD_BYTES)
    if not message.payload.fields:
        raise InvalidInput("The message has no payload.", field="payload")


def check_place(message: common_v1.A2aMessage, roles: Collection[str], now_ns: int) -> None:
    """Raise `NotFound` (the recipient) or `InvalidInput` for what has no place in the run now."""
    if problem := role_problem(message.recipient_role, roles):
        known = ", ".join(sorted({*roles})) or "none at the moment"
        raise NotFound(f"The message cannot be sent: {problem}.", remedy=f"Known: {known}.", field="recipient_role")
    if message.sender_role in roles:
        raise InvalidInput(
            f"{message.sender_role!r} is a role of the run, and this message comes from outside.",
            remedy=f"Leave sender_role empty, which means {OUTSIDE!r}.",
            field="sender_role",
        )
    if message.HasField("expire_time") and message.expire_time.ToNanoseconds() <= now_ns:
        raise InvalidInput("expire_time has passed.", field="expire_time")
