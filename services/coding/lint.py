"""Looks a program over without running it."""

import ast
import warnings

from services.coding.verdict import Finding, Severity


def lint(code: str) -> tuple[Finding, ...]:
    """Returns what is wrong on the face of it: a syntax error alone as a blocker, doubtful habits as minor findings."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tree = ast.parse(code)
            compile(tree, "main.py", "exec")
    except SyntaxError as error:
        message = f"The code is not Python: {error.msg}."
        return (Finding(Severity.BLOCKER, message, (error.text or "").strip(), error.lineno or 0),)
    except (ValueError, RecursionError, MemoryError) as error:
        return (Finding(Severity.BLOCKER, f"The code cannot be compiled: {error}."),)
    warned = [Finding(Severity.MINOR, f"{item.message}", line=item.lineno) for item in caught]
    habits = [finding for node in ast.walk(tree) for finding in _habits(node)]
    lines = code.splitlines()
    return tuple(_with_line(finding, lines) for finding in sorted([*warned, *habits], key=lambda item: item.line))


def _habits(node: ast.AST) -> list[Finding]:
    match node:
        case ast.ExceptHandler(type=None):
            return [Finding(Severity.MINOR, "A bare except catches SystemExit as well.", line=node.lineno)]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            return [
                Finding(
                    Severity.MINOR, f"A default of {node.name} is mutable, so its calls share it.", line=item.lineno
                )
                for item in defaults
                if isinstance(item, ast.List | ast.Dict | ast.Set)
            ]
        case ast.Assert(test=ast.Tuple(elts=[_, *_])):
            return [Finding(Severity.MINOR, "An assertion of a tuple is always true.", line=node.lineno)]
        case _:
            return []


def _with_line(finding: Finding, lines: list[str]) -> Finding:
    evidence = lines[finding.line - 1].strip() if 0 < finding.line <= len(lines) else ""
    return Finding(finding.severity, finding.message, evidence, finding.line)
