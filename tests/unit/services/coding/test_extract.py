"""Finding the program in what models reply."""

import pytest

from services.coding.extract import extract_code, is_stuck

CODE = "print(1)\n"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("```python\nprint(1)\n```", CODE),
        ("Here it is:\n\n```python\nprint(1)\n```\nIt prints 1.", CODE),
        ("```py\nprint(1)\n```", CODE),
        ("The answer is 1. ```python\nprint(1)\n```", CODE),
        ("Call ```print``` so:\n```python\nprint(1)\n```", CODE),
        ("```Python3 title=x\nprint(1)\n```", CODE),
        ("```\nprint(1)\n```", CODE),
        ("``` python\nprint(1)\n```", CODE),
        ("1. Do this:\n\n   ```python\n   print(1)\n   ```", CODE),
        ("print(1)", CODE),
        ("```python\nprint(1)", CODE),
        ("```bash\npip install x\n```\n```python\nprint(1)\n```", CODE),
        ("```python\nprint(1)\n```\nOutput:\n```\n1\n```", CODE),
        ("```python\ndef f(): return 1\n```\nUse it:\n```python\nprint(f())\n```", "def f(): return 1\n\nprint(f())\n"),
        ('```python\nx = """\n  ```not a fence"""\n```', 'x = """\n'),
        ("```python\nif x:\n    pass\n```", "if x:\n    pass\n"),
    ],
)
def test_the_program_is_found(reply: str, code: str) -> None:
    assert extract_code(reply) == code


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Sorry",
        "I cannot do that.",
        "42",
        "```\n1\n```",
        "```\n```",
        "```python\n\n```",
        "```bash\nls\n```",
        "```json\n{}\n```",
        "```python\nprint('\0')\n```",
        "(" * 10_000,
    ],
)
def test_a_reply_without_a_program_has_none(reply: str) -> None:
    assert extract_code(reply) is None


@pytest.mark.parametrize("loop", ["print(1)\n", "print(1)\nprint(2)\n", "a\n\nb\n"])
def test_a_reply_that_repeats_itself_is_noticed(loop: str) -> None:
    assert not is_stuck("import x\n" + loop * 11 + "p")
    assert is_stuck("import x\n" + loop * 12 + "p")


def test_lines_that_only_look_alike_are_no_loop() -> None:
    assert not is_stuck("".join(f"print({number})\n" for number in range(100)))


def test_of_a_reply_that_explains_a_fault_the_longest_block_is_the_program() -> None:
    reply = "This is wrong:\n```python\nprint(f(1))\n```\nSo:\n```python\ndef f(n):\n    return n\nprint(f(1))\n```\n"
    assert extract_code(reply, is_one_block=True) == "def f(n):\n    return n\nprint(f(1))\n"
    assert extract_code("Nothing.", is_one_block=True) is None
