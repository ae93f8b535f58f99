"""What may not come in from outside is refused by name."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.agent.mailbox.limits import MAX_ID_CHARS, MAX_PAYLOAD_BYTES, MAX_ROLE_CHARS, check_content, check_place
from shared.errors import InvalidInput, NotFound, WaystationError
from shared.pb import common_v1

ROLES = {"coder", "reviewer"}
NOW = 1_000


@dataclass(frozen=True)
class Case:
    """A message, and what is wrong with it."""

    name: str
    field: str
    fields: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=lambda: {"text": "hello"})
    expire_ns: int = 0
    error: type[WaystationError] = InvalidInput


def message(case: Case) -> common_v1.A2aMessage:
    made = common_v1.A2aMessage(**{"recipient_role": "coder", **case.fields})
    made.payload.update(case.payload)
    if case.expire_ns:
        made.expire_time.FromNanoseconds(case.expire_ns)
    return made


CASES = (
    Case("unknown role", "recipient_role", {"recipient_role": "nobody"}, error=NotFound),
    Case("no role", "recipient_role", {"recipient_role": ""}, error=NotFound),
    Case("a very long role", "recipient_role", {"recipient_role": "x" * 100_000}, error=NotFound),
    Case("a sender that the run has", "sender_role", {"sender_role": "reviewer"}),
    Case("a long sender", "sender_role", {"sender_role": "x" * (MAX_ROLE_CHARS + 1)}),
    Case("a sender that draws", "sender_role", {"sender_role": "\x1b[31mred"}),
    Case("a long id", "message_id", {"message_id": "x" * (MAX_ID_CHARS + 1)}),
    Case("a long answer", "in_reply_to", {"in_reply_to": "x" * (MAX_ID_CHARS + 1)}),
    Case("no payload", "payload", payload={}),
    Case("a large payload", "payload", payload={"text": "x" * MAX_PAYLOAD_BYTES}),
    Case("an end in the past", "expire_time", expire_ns=NOW),
)


def check(case: Case) -> None:
    check_content(message(case))
    check_place(message(case), ROLES, NOW)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_message_is_refused_with_the_field_that_is_wrong(case: Case) -> None:
    with pytest.raises(case.error) as caught:
        check(case)
    assert caught.value.metadata["field"] == case.field
    assert len(str(caught.value)) < 500


def test_a_good_message_passes() -> None:
    good = Case("good", "", {"sender_role": "ops", "message_id": "m"}, {"text": "x" * 60_000}, NOW + 1)
    check(good)
