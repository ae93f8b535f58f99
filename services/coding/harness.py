"""Puts a program and its tests into one run whose outcome can be read."""

import ast
import json
import re
import secrets
from dataclasses import dataclass

from services.coding.sandbox.execution import Execution
from services.coding.sandbox.program import Program

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python|py)?[ \t]*\n(.*?)^[ \t]*```", re.M | re.S)

# Runs the code, which may leave and may take any name, then the tests, which may import it by these names and find it
# in their own namespace too. Where the outcome goes is read from stdin before either runs, so that neither has it in
# its source or its names; a program that takes the interpreter apart can still forge what is said of it.
_HARNESS = """
import json, linecache, os, sys, traceback, types, unittest

def run(text, name):
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), program.__dict__)

def show(kind, error, trace):  # without the frames of this file, and with the lines of the others
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)

def suite_of(names):
    suite = unittest.TestSuite()
    for name, thing in names.items():
        if isinstance(thing, type) and issubclass(thing, unittest.TestCase):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(thing))
        elif name.startswith("test") and callable(thing) and not isinstance(thing, type):
            suite.addTest(unittest.FunctionTestCase(thing, description=name))
    return suite

def name_of(test):
    return test.id().rpartition(".")[2]

outcome = os.path.abspath(sys.stdin.readline().strip())
itself, program = sys.modules["__main__"], types.ModuleType("__main__")
program.__file__ = __file__
sys.modules.update(__main__=program, main=program, solution=program)
sys.excepthook = show
unittest.main = lambda *arguments, **options: None
try:
    run({code!r}, "main.py")
except SystemExit as end:
    if end.code not in (None, 0):
        raise
run({tests!r}, "tests.py")
result = unittest.TextTestRunner(sys.stderr).run(suite_of(dict(program.__dict__)))
failed = [[name_of(test), text] for test, text in result.failures + result.errors]
failed += [[name_of(test), "succeeded, though a failure was expected"] for test in result.unexpectedSuccesses]
with open(outcome, "w") as file:
    json.dump({{"count": result.testsRun, "failed": failed}}, file)
raise SystemExit(bool(failed))
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
    """Returns the program that runs the code, then the tests: unittest cases, functions `test…` or bare assertions.

    Raises `InvalidInput` for code or tests that are none. See `read_outcome`.
    """
    whole = Program(f"{code}\n{tests}" if tests.strip() else code)
    if not tests.strip():
        return whole
    return Program(_HARNESS.format(code=code, tests=tests), stdin=f"test-outcome-{secrets.token_hex(16)}.json\n")


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


def read_outcome(execution: Execution, program: Program) -> TestOutcome | None:
    """Returns what the tests of the program said; None when the run did not come to its end."""
    name = program.stdin.strip()
    text = next((file.text for file in execution.files if file.name == name), None)
    try:
        outcome = json.loads(text or "")
        return TestOutcome(int(outcome["count"]), tuple((str(test), str(said)) for test, said in outcome["failed"]))
    except (ValueError, KeyError, TypeError):
        return None  # it was killed while it wrote, or wrote something of its own
