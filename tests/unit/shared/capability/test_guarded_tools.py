"""Calls of guarded tools are let through when they were approved as they are."""

import pytest

from shared.capability import Invocation, ToolCall
from shared.capability.guarded_tools import MAX_ARGUMENTS_CHARS, call_digest, check_approved
from shared.errors import ApprovalRequired

CALL = ToolCall("1", "fetch_url", {"url": "https://example.org", "depth": 1})


def invocation(*approved: str) -> Invocation:
    return Invocation("fetch it", guarded_tools=("fetch_url",), approved_tool_calls=approved)


def test_a_tool_that_nobody_guards_is_called() -> None:
    check_approved(ToolCall("1", "calculate"), invocation())
    check_approved(CALL, Invocation("fetch it"))


def test_what_is_wanted_is_told_and_approved_by_its_digest() -> None:
    with pytest.raises(ApprovalRequired, match="fetch_url is not called") as caught:
        check_approved(CALL, invocation())
    facts = caught.value.metadata
    assert facts == {
        "tool": "fetch_url",
        "arguments": '{"depth":1,"url":"https://example.org"}',
        "digest": call_digest(CALL),
    }
    check_approved(CALL, invocation("other", facts["digest"]))


@pytest.mark.parametrize(
    "other",
    [
        ToolCall("1", "fetch_url", {"url": "https://example.com", "depth": 1}),
        ToolCall("1", "fetch_url", {"url": "https://example.org", "depth": 2}),
        ToolCall("1", "fetch_url"),
    ],
)
def test_an_approval_is_for_its_arguments_alone(other: ToolCall) -> None:
    with pytest.raises(ApprovalRequired):
        check_approved(other, invocation(call_digest(CALL)))


def test_the_digest_depends_on_neither_the_order_nor_the_id() -> None:
    assert call_digest(ToolCall("9", "fetch_url", {"depth": 1, "url": "https://example.org"})) == call_digest(CALL)


def test_long_arguments_and_secrets_are_not_shown_whole() -> None:
    arguments = {"headers": "Authorization: Bearer abcdefgh12345678", "text": "x" * 1_000}
    with pytest.raises(ApprovalRequired) as caught:
        check_approved(ToolCall("1", "fetch_url", arguments), invocation())
    shown = caught.value.metadata["arguments"]
    assert len(shown) <= MAX_ARGUMENTS_CHARS + 1
    assert "abcdefgh12345678" not in shown
