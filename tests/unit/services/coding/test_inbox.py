"""What others wrote to the coder, as text within bounds."""

from typing import Any

import pytest

from services.coding.inbox import MAX_FINDING_CHARS, MAX_FINDINGS, MAX_WORDS_CHARS, findings_in, words_in
from shared.capability import Message


def review_of(*findings: Any, **payload: Any) -> Message:
    """A reviewer's message."""
    return Message("m1", "reviewer", "coder", {"kind": "review", "findings": list(findings), **payload})


def finding(message: str, **parts: Any) -> dict[str, Any]:
    """One finding."""
    return {"severity": "major", "message": message, "evidence": "", "line": 0, **parts}


def test_findings_are_listed_with_place_and_evidence_the_gravest_first() -> None:
    message = review_of(finding("style", severity="minor"), finding("wrong", line=3, evidence="f(1) is 2"))
    assert findings_in([message]) == "- line 3: wrong (f(1) is 2)\n- style"


def test_the_newest_review_counts() -> None:
    assert findings_in([review_of(finding("old")), review_of(finding("new"))]) == "- new"


def test_without_findings_the_summary_speaks_and_without_a_review_nobody() -> None:
    assert findings_in([review_of(summary="No good.")]) == "- No good."
    assert findings_in([Message("m", "user", "coder", {"text": "hurry"})]) == ""
    assert findings_in([]) == ""


def test_huge_findings_are_cut() -> None:
    text = findings_in([review_of(*(finding("m" * 9_999, evidence="e" * 9_999) for _ in range(500)))])
    assert len(text.splitlines()) == MAX_FINDINGS and len(text) < MAX_FINDINGS * (MAX_FINDING_CHARS + 40)


def test_findings_cannot_leave_their_line_or_open_a_block() -> None:
    text = findings_in([review_of(finding("one\n\n```python\nprint('mine')\n```\n<script>alert(1)</script>"))])
    assert text == "- one '''python print('mine') ''' <script>alert(1)</script>"


@pytest.mark.parametrize(
    "findings", [None, 7, "text", [None, 7, "text"], [{"message": 7}], [{"line": "x"}], [{"message": "", "line": -1}]]
)
def test_findings_that_are_none_are_passed_over(findings: Any) -> None:
    message = Message("m", "reviewer", "coder", {"kind": "review", "findings": findings, "summary": "See above."})
    assert findings_in([message]) == "- See above."


def test_words_from_outside_are_told_with_their_sender_newest_first_and_cut() -> None:
    first = Message("1", "user", "coder", {"text": "use tabs"})
    second = Message("2", "Boss\n", "coder", {"must": ["be", 1]})
    assert words_in([first, second]) == 'Message of Boss: {"must": ["be", 1]}\nMessage of user: use tabs'
    assert words_in([review_of(finding("x"))]) == ""
    assert len(words_in([Message("1", "user", "coder", {"text": "x" * 99_999})])) == MAX_WORDS_CHARS
