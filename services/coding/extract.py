"""Finds the program in a model's reply, and notices a reply that goes round in circles."""

import ast
import re
import textwrap

# A Python block may begin in mid-line, any block may be indented in a list, and a reply that ran out of tokens leaves
# its last one open.
_BLOCK = re.compile(
    r"(?:^[ \t]*|(?=```[ \t]*py))```[ \t]*(?P<language>[\w+-]*)[^\n`]*\n(?P<body>.*?)(?:^[ \t]*```|\Z)", re.M | re.S
)
_REPEATS = 12
_PYTHON = ("python", "py", "python3")


def extract_code(reply: str, *, is_one_block: bool = False) -> str | None:
    """Returns the Python program in the reply, or None when there is none.

    Blocks that are marked as Python belong together; without such, the unmarked ones that are Python count, and
    without any block the whole reply when it is Python. With `is_one_block` it is the longest block: a reply that
    explains a fault quotes lines of it.
    """
    blocks = [(match["language"].lower(), textwrap.dedent(match["body"])) for match in _BLOCK.finditer(reply)]
    marked = [body for language, body in blocks if language in _PYTHON]
    if not blocks:
        marked = [reply] if _is_program(reply) else []
    chosen = marked or [body for language, body in blocks if not language and _is_program(body)]
    chosen = [max(chosen, key=len)] if is_one_block and chosen else chosen
    code = "\n\n".join(body.strip("\n") for body in chosen if body.strip())
    return code + "\n" if code and "\0" not in code else None


def is_stuck(reply: str) -> bool:
    """Whether the model, as small ones do, writes the same few lines again and again without an end."""
    lines = reply.splitlines()[:-1]
    return any(
        len(lines) >= period * _REPEATS and lines[-period:] * _REPEATS == lines[-period * _REPEATS :]
        for period in range(1, 4)
    )


def _is_program(text: str) -> bool:
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    # A word or a number is an expression too.
    return any(not isinstance(item, ast.Expr) or isinstance(item.value, ast.Call) for item in statements)
