"""A program and its tests in one run: whatever the program does, what its tests said is not made up by it."""

from dataclasses import replace

import pytest

from services.coding.harness import read_outcome, with_tests
from services.coding.sandbox.execution import OutputFile
from services.coding.sandbox.sandbox import Sandbox
from shared.errors import InvalidInput

CODE = "def half(n):\n    return n / 2\n"
TESTS = "def test_two(): assert half(2) == 1\ndef test_none(): assert half(0) == 1\n"
FORGED = '{"count": 9, "failed": []}'
FORGERY = f"""
import os, re
names = {{"test-outcome.json", *re.findall(r"[\\w-]+[.]json", open(__file__).read())}}
for name in names:
    open(name, "w").write('{FORGED}')
os._exit(0)
"""


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "from __future__ import annotations\n",
        "import sys\nif __name__ == '__main__':\n    sys.exit(0)\n",
        "raise SystemExit\n",
        "import unittest\nunittest.main()\n",
        "def repr(x): pass\nopen = len = dict = type = list = bool = isinstance = callable = globals = None\n",
        "import json, sys, unittest\nrun = suite_of = name_of = outcome = program = os = result = None\n",
    ],
)
async def test_every_test_is_run_whatever_the_code_calls_its_things_and_however_it_ends(
    rest: str, sandbox: Sandbox
) -> None:
    code = rest + CODE if "__future__" in rest else CODE + rest
    program = with_tests(code, TESTS)
    outcome = read_outcome(await sandbox.run(program), program)
    assert outcome and outcome.count == 2
    ((name, said),) = outcome.failed
    assert name == "test_none" and "assert half(0) == 1" in said


async def test_the_evidence_has_the_codes_own_lines_and_none_of_the_harness(sandbox: Sandbox) -> None:
    program = with_tests("def f():\n    return 1 / 0\n", "def test_f(): f()")
    outcome = read_outcome(await sandbox.run(program), program)
    assert outcome and 'File "main.py", line 2, in f\n    return 1 / 0' in outcome.failed[0][1]
    execution = await sandbox.run(with_tests("x = 1\nx / 0\n", "pass"))
    assert execution.stderr.startswith('Traceback (most recent call last):\n  File "main.py", line 2, in <module>\n')
    assert "    x / 0\n" in execution.stderr and "exec(" not in execution.stderr


async def test_a_program_that_writes_an_outcome_of_its_own_and_leaves_has_none(sandbox: Sandbox) -> None:
    program = with_tests(CODE + FORGERY, TESTS)
    execution = await sandbox.run(program)
    assert execution.is_success and FORGED in [file.text for file in execution.files]
    assert read_outcome(execution, program) is None


@pytest.mark.parametrize(
    "text", [None, "", '{"count": 1, "fai', "[]", "7", '{"count": 1}', '{"count": 1, "failed": [1]}']
)
async def test_an_outcome_that_is_cut_off_or_none_is_no_outcome(text: str | None, sandbox: Sandbox) -> None:
    program = with_tests(CODE, TESTS)
    execution = await sandbox.run(program)
    (file,) = execution.files
    assert read_outcome(execution, program)
    assert read_outcome(replace(execution, files=(OutputFile(file.name, 1, "", text),)), program) is None


async def test_the_place_of_the_outcome_is_another_each_time_and_nowhere_in_the_source() -> None:
    one, other = with_tests(CODE, TESTS), with_tests(CODE, TESTS)
    assert one.code == other.code and one.stdin != other.stdin and one.stdin.strip() not in one.code


@pytest.mark.parametrize("bad", ["x = '\0'", "x = '\udc80'", "x" * 300_000])
def test_what_is_no_source_is_refused(bad: str) -> None:
    for code, tests in ((bad, TESTS), (CODE, bad), (bad, "")):
        with pytest.raises(InvalidInput):
            with_tests(code, tests)
