"""Puts a program and its tests into one run whose outcome can be read."""

import json
from dataclasses import dataclass

from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import Program

OUTCOME_FILE = "test-outcome.json"

# The tests may import the code by these names, and find it in their own namespace too.
_BRIDGE = """
import sys as _sys, unittest as _unittest
_sys.modules.update(main=_sys.modules[__name__], solution=_sys.modules[__name__])
_unittest.main = lambda *arguments, **options: None
"""

_TAIL = f"""
def _run_tests(names):
    import json
    suite = _unittest.TestSuite()
    for name, thing in names.items():
        if isinstance(thing, type) and issubclass(thing, _unittest.TestCase):
            suite.addTests(_unittest.defaultTestLoader.loadTestsFromTestCase(thing))
        elif name.startswith("test") and callable(thing) and not isinstance(thing, type):
            suite.addTest(_unittest.FunctionTestCase(thing, description=name))
    result = _unittest.TextTestRunner(_sys.stderr).run(suite)
    failed = [[str(test), text] for test, text in result.failures + result.errors]
    failed += [[str(test), "succeeded, though a failure was expected"] for test in result.unexpectedSuccesses]
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


def read_outcome(execution: Execution) -> TestOutcome | None:
    """Returns what the tests said; None when the run did not come to its end."""
    for file in execution.files:
        if file.name == OUTCOME_FILE and file.text:
            outcome = json.loads(file.text)
            return TestOutcome(outcome["count"], tuple((name, text) for name, text in outcome["failed"]))
    return None
