"""Puts a program and its tests into one run whose outcome can be read."""

import ast
import json
import re
from dataclasses import dataclass

from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import Program

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python|py)?[ \t]*\n(.*?)^[ \t]*```", re.M | re.S)

OUTCOME_FILE = "test-outcome.json"

# The tests may import the code by these names, and find it in their own namespace too.
_BRIDGE = """
import sys as _sys, unittest as _unittest
_sys.modules.update(main=_sys.modules[__name__], solution=_sys.modules[__name__])
_unittest.main = lambda *arguments, **options: None
"""

_TAIL = f"""
def _name_of(test):
    return test.id().rpartition(".")[2]

def _run_tests(names):
    import json
    suite = _unittest.TestSuite()
    for name, thing in names.items():
        if isinstance(thing, type) and issubclass(thing, _unittest.TestCase):
            suite.addTests(_unittest.defaultTestLoader.loadTestsFromTestCase(thing))
        elif name.startswith("test") and callable(thing) and not isinstance(thing, type):
            suite.addTest(_unittest.FunctionTestCase(thing, description=name))
    result = _unittest.TextTestRunner(_sys.stderr).run(suite)
    failed = [[_name_of(test), text] for test, text in result.failures + result.errors]
    failed += [[_name_of(test), "succeeded, though a failure was expected"] for test in result.unexpectedSuccesses]
    failed = [[name, text.replace(__file__, "main.py")] for name, text in failed]
    with open({OUTCOME_FILE!r}, "w") as file:
        json.dump({{"count": result.testsRun, "failed": failed}}, file)
    return bool(failed)

_sys.exit(_run_tests(dict(globals())))
"""


@dataclass(frozen=True)
class TestOutcome:
    """What the tests said."""

    __test__ = False

    count: int
    """Test functions and methods; assertions outside of them are not counted."""
    failed: tuple[tuple[str, str], ...]
    """Name and traceback of each test that failed."""


def with_tests(code: str, tests: str) -> Program:
    """Returns the program that runs the code, then the tests: unittest cases, functions `test…` or bare assertions."""
    return Program(code if not tests.strip() else f"{code}\n{_BRIDGE}\n{tests}\n{_TAIL}")


def tests_in(task: str, code: str) -> str:
    """The tests that the task's words bring as blocks of Python, or that stand in the code itself; else empty."""
    blocks = [block for block in _BLOCK.findall(task) if _is_test(block)]
    # the harness finds the tests of the code by itself, as soon as there is something to run
    return "\n".join(blocks) or ("pass" if _is_test(code, is_code=True) else "")


def _is_test(text: str, is_code: bool = False) -> bool:
    try:
        nodes = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if any(isinstance(node, ast.FunctionDef) and node.name.startswith("test") for node in nodes):
        return True
    if any(isinstance(node, ast.ClassDef) and "TestCase" in map(_last_name, node.bases) for node in nodes):
        return True
    return not is_code and any(isinstance(node, ast.Assert) for node in nodes)


def _last_name(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""


def read_outcome(execution: Execution) -> TestOutcome | None:
    """Returns what the tests said; None when the run did not come to its end."""
    for file in execution.files:
        if file.name == OUTCOME_FILE and file.text:
            outcome = json.loads(file.text)
            return TestOutcome(outcome["count"], tuple((name, text) for name, text in outcome["failed"]))
    return None
