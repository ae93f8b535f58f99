"""What the chat model is told. The fixed text comes first, so that the server's prompt cache holds it."""

from collections.abc import Sequence

from services.coding.sandbox.execution import Execution, State
from shared.capability import Artifact
from shared.models.chat import ChatMessage

MAX_CONTEXT_CHARS = 3_000
MAX_ERROR_CHARS = 800
MAX_FORMER_CODE_CHARS = 8_000

WRITE = """You write Python 3 programs. They run at once, with the standard library only: no network, no input, no \
other files. Reply with nothing but one ```python block holding the whole program: what the task asks for, its data, \
and a few short examples whose results are printed. Do not guess the results."""

NO_CODE = "Your reply holds no program. Reply with one ```python block that holds the whole program."
REPAIR = "Reply with the corrected whole program in one ```python block."
FOUND = "The program is wrong. A reviewer ran it and found:"
REVISE = """First say in two sentences, without code, what causes that and what must be done instead. Then write the \
corrected whole program in one ```python block."""
REFUSED = "An earlier program was refused by a reviewer, who found:"

HINTS = {
    "ModuleNotFoundError": "Only the standard library is installed: do without that module.",
    "FileNotFoundError": "That file does not exist: put the data into the program as a string.",
    "EOFError": "There is no input: put example values into the program.",
    "PermissionError": "Network, other processes and files outside the working folder are closed.",
    "URLError": "There is no network: work on example data in the program.",
    "wall_time": "It took too long: use a faster algorithm, and be sure that it ends.",
    "cpu_time": "It took too long: use a faster algorithm, and be sure that it ends.",
    "memory_bytes": "It needed too much memory: keep less at once.",
    "output_bytes": "It printed too much: print a short result.",
}
"""What helps, by what stands in the last line of an error or by the limit."""

REVIEW = """You review Python code against its task. It was run; its output is given. Judge whether it does what the \
task asks. Reply as JSON: calls (up to 3 calls of its function with literal arguments that the task permits, a plain \
one first, then unusual ones), findings (only real faults: severity, line, message), is_approved, summary (one \
sentence)."""

REVIEW_SCHEMA = {
    "title": "review",
    "type": "object",
    "properties": {
        "calls": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 80}},
        "findings": {
            "type": "array",
            "maxItems": 3,
            "items": {
                "type": "object",
                "properties": {
                    "severity": {"enum": ["minor", "major", "blocker"]},
                    "line": {"type": "integer", "minimum": 0},
                    "message": {"type": "string", "maxLength": 160},
                },
                "required": ["severity", "line", "message"],
                "additionalProperties": False,
            },
        },
        "is_approved": {"type": "boolean"},
        "summary": {"type": "string", "maxLength": 200},
    },
    "required": ["calls", "findings", "is_approved", "summary"],
    "additionalProperties": False,
}


def write_messages(task: str, context: Sequence[Artifact], words: str = "") -> list[ChatMessage]:
    """The prompt for a program: the task, after as much of earlier work as fits, and with what others said of it."""
    known, room = [], MAX_CONTEXT_CHARS
    for artifact in context:
        if artifact.text and room > 0:
            known.append(f"{artifact.kind} {artifact.name}:\n{artifact.text[:room]}")
            room -= len(artifact.text)
    return [ChatMessage("system", WRITE), ChatMessage("user", "\n\n".join(filter(None, [*known, task, words])))]


def revise_messages(task: str, context: Sequence[Artifact], words: str, code: str, findings: str) -> list[ChatMessage]:
    """The prompt for a repair: the former program as the model's own turn, then what a reviewer found."""
    shown = code if len(code) <= MAX_FORMER_CODE_CHARS else f"{code[:MAX_FORMER_CODE_CHARS]}\n# …"
    return [
        *write_messages(task, context, words),
        ChatMessage("assistant", f"```python\n{shown.rstrip()}\n```"),
        ChatMessage("user", f"{FOUND}\n{findings}\n{REVISE}"),
    ]


def repair_messages(reply: str, complaint: str) -> list[ChatMessage]:
    """The turns that follow a reply whose program did not run."""
    return [ChatMessage("assistant", reply), ChatMessage("user", f"{complaint}\n{REPAIR}")]


def complaint_of(execution: Execution) -> str:
    """Says of a failed run what the model can act on: the end of the error, and a hint."""
    lines = [f"The program failed: {execution.describe()}."]
    if execution.stderr:
        lines.append(execution.stderr.strip()[-MAX_ERROR_CHARS:])
    cause = execution.limit if execution.state is State.LIMIT_EXCEEDED else execution.last_error
    lines += [hint for sign, hint in HINTS.items() if sign in cause][:1]
    return "\n".join(lines)


def review_messages(task: str, code: str, tests: str, execution: Execution) -> list[ChatMessage]:
    """The prompt for a verdict on a program that ran."""
    numbered = "\n".join(f"{number}: {line}" for number, line in enumerate(code.splitlines(), 1))
    parts = [f"Task: {task}", f"Code:\n{numbered}"]
    if tests:
        parts.append(f"Tests, all passed:\n{tests[:MAX_CONTEXT_CHARS]}")
    parts.append(f"Output:\n{execution.stdout[:MAX_ERROR_CHARS] or '(nothing)'}")
    return [ChatMessage("system", REVIEW), ChatMessage("user", "\n\n".join(parts))]
