"""A program as it is handed to the sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from shared.errors import InvalidInput

MAIN = "main.py"
MAX_CODE_BYTES = 256 * 2**10
MAX_INPUT_BYTES = 8 * 2**20
MAX_INPUT_FILES = 64
MAX_ARGUMENTS = 64
MAX_ARGUMENT_BYTES = 16 * 2**10
"""Of all arguments together: they reach the jail in one argument of its own."""
MAX_PATH_DEPTH = 8


@dataclass(frozen=True)
class Program:
    """Python source and what it is given; raises InvalidInput when a part is malformed or too large."""

    code: str
    stdin: str = ""
    arguments: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content by relative path; laid beside the code, so that Python files can be imported."""

    def __post_init__(self) -> None:
        if not self.code.strip():
            raise InvalidInput("There is no code to run.", field="code")
        if "\0" in self.code:
            raise InvalidInput("The code holds a null character, so it is not Python source.", field="code")
        _check_size("code", len(encoded("code", self.code)), MAX_CODE_BYTES)
        _check_size("stdin", len(encoded("stdin", self.stdin)), MAX_INPUT_BYTES)
        if len(self.arguments) > MAX_ARGUMENTS:
            raise InvalidInput(f"More than {MAX_ARGUMENTS} arguments.", field="arguments", limit=MAX_ARGUMENTS)
        _check_size("arguments", len(encoded("arguments", "".join(self.arguments))), MAX_ARGUMENT_BYTES)
        if any("\0" in argument for argument in self.arguments):
            raise InvalidInput("An argument holds a null character.", field="arguments")
        if len(self.files) > MAX_INPUT_FILES:
            raise InvalidInput(f"More than {MAX_INPUT_FILES} files.", field="files", limit=MAX_INPUT_FILES)
        _check_size("files", sum(map(len, self.files.values())), MAX_INPUT_BYTES)
        for name in self.files:
            _check_path(name)


def encoded(name: str, text: str) -> bytes:
    """Returns the text as UTF-8; raises InvalidInput for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"The {name} cannot be written as UTF-8: {error.reason}.", field=name) from error


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InvalidInput(f"The {name} has {size} bytes; {limit} are permitted.", field=name, limit=limit)


def _check_path(name: str) -> None:
    parts = PurePosixPath(name).parts
    is_plain = str(PurePosixPath(name)) == name and ".." not in parts and not name.startswith("/")
    fits = len(parts) <= MAX_PATH_DEPTH and all(len(encoded("files", part)) <= 255 for part in parts)
    if not is_plain or not fits or "\0" in name or name in (".", MAIN):
        raise InvalidInput(
            f"{name!r} is not a usable file name: a relative path without '..', not {MAIN}, is needed.", field="files"
        )
