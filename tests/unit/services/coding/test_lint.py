"""What shows without running a program."""

import pytest

from services.coding.lint import lint
from services.coding.verdict import Severity


@pytest.mark.parametrize(
    ("code", "line", "message"),
    [
        ("x = 1\ntry:\n    x\nexcept:\n    x", 4, "bare except"),
        ("def f(a, b=[]): pass", 1, "default of f is mutable"),
        ("async def f(*, b={}): pass", 1, "default of f is mutable"),
        ("assert (1, 'message')", 1, "always "),
        ("x = 1\nif x is 'a': pass", 2, '"is" with '),
    ],
)
def test_a_doubtful_habit_is_a_minor_finding(code: str, line: int, message: str) -> None:
    findings = lint(code)
    assert findings
    for finding in findings:
        assert (finding.severity, finding.line) == (Severity.MINOR, line)
        assert message in finding.message
        assert finding.evidence == code.splitlines()[line - 1].strip()


@pytest.mark.parametrize("code", ["def f(:", "x = 1\n  y = 2", "return 1", "x = (", "'\0'", "(" * 10_000])
def test_what_does_not_compile_is_one_blocker(code: str) -> None:
    (finding,) = lint(code)
    assert finding.severity is Severity.BLOCKER


def test_plain_code_has_no_findings() -> None:
    assert lint("def f(a, b=None):\n    return a or b\nprint(f(1))\n") == ()
