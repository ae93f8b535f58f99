"""Calls of guarded tools are let through when they were approved as they are."""

import pytest

from shared.capability import Invocation, ToolCall
from shared.capability.guarded_tools import MAX_ARGUMENT_CHARS, MAX_ARGUMENTS_CHARS, ToolGuard
from shared.errors import ApprovalRequired

CALL = ToolCall("1", "fetch_url", {"url": "https://example.org", "depth": 1})


def guard(*approved: str) -> ToolGuard:
    return ToolGuard(Invocation("fetch it", guarded_tools=("fetch_url",), approved_tool_calls=approved))


def wanted(call: ToolCall, by: ToolGuard | None = None) -> dict[str, str]:
    with pytest.raises(ApprovalRequired, match=f"{call.name} is not called") as caught:
        (by or guard()).check(call)
    return caught.value.metadata


def test_a_tool_that_nobody_guards_is_called() -> None:
    guard().check(ToolCall("1", "calculate"))
    ToolGuard(Invocation("fetch it")).check(CALL)


def test_what_is_wanted_is_told_and_approved_by_its_digest() -> None:
    facts = wanted(CALL)
    assert (facts["tool"], facts["arguments"]) == ("fetch_url", '{"url": "https://example.org", "depth": 1}')
    guard("other", facts["digest"]).check(CALL)
    guard(facts["digest"]).check(ToolCall("9", "fetch_url", {"depth": 1, "url": "https://example.org"}))


@pytest.mark.parametrize(
    "arguments",
    [{"url": "https://example.com", "depth": 1}, {"url": "https://example.org", "depth": 2}, {}],
)
def test_an_approval_is_for_its_arguments_alone(arguments: dict[str, object]) -> None:
    wanted(ToolCall("1", "fetch_url", arguments), guard(wanted(CALL)["digest"]))


def test_an_approval_is_for_one_call() -> None:
    first = wanted(CALL)["digest"]
    by = guard(first)
    by.check(CALL)
    second = wanted(CALL, by)["digest"]
    by = guard(first, second)
    by.check(CALL)
    by.check(CALL)


def test_a_long_argument_hides_no_other() -> None:
    arguments = {"content": "x" * 1_000, "path": "/etc/passwd", "note": "Удалить всё"}
    shown = wanted(ToolCall("1", "fetch_url", arguments))["arguments"]
    assert '"path": "/etc/passwd", "note": "Удалить всё"' in shown
    assert "(1013 characters)" in shown
    many = {f"argument{number}": "x" * MAX_ARGUMENT_CHARS for number in range(100)}
    assert len(wanted(ToolCall("1", "fetch_url", many))["arguments"]) < MAX_ARGUMENTS_CHARS + 50


@pytest.mark.parametrize("length", range(150, 230, 4))
def test_a_secret_is_taken_out_before_anything_is_cut(length: int) -> None:
    url = f"{'x' * length} https://anna:hunter2secretpassword@example.org"
    arguments = {"url": url, "password": "hunter2secret"}
    assert "hunter2" not in wanted(ToolCall("1", "fetch_url", arguments))["arguments"]
