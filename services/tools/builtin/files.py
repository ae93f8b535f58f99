"""Files in the allowed folders: list, read, search. Nothing is ever written."""

import asyncio
import contextlib
import fnmatch
import itertools
import os
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import re2  # type: ignore[import-untyped]
from pydantic import Field

from services.tools.folders import AllowedFolders
from services.tools.tool import Arguments, ArgumentsT, JsonObject, ToolError, ToolOutput, TypedTool

MAX_ENTRIES = 200
MAX_WALKED = 20_000
MAX_LINES = 400
MAX_READ_BYTES = 16_000
MAX_MATCHES = 50
MAX_SEARCHED_BYTES = 2_000_000
"""A larger file is not searched."""
MAX_LINE_CHARS = 200
SEARCH_TIME = timedelta(seconds=4)

_PATH = "Path inside the allowed folders; '.' is the folder itself."
_GLOB = "Only names that match, such as *.md."


class _FileTool(TypedTool[ArgumentsT]):
    """A tool that reads the allowed folders."""

    def __init__(self, folders: AllowedFolders) -> None:
        self._folders = folders

    def _walk(self, start: Path, glob: str) -> Iterator[Path]:
        """Files below `start` whose name or relative path matches, in a stable order; links are not followed."""
        walked = 0
        for folder, names, files in os.walk(start):
            names.sort()
            for name in sorted(files):
                walked += 1
                if walked > MAX_WALKED:
                    return
                path = Path(folder, name)
                if fnmatch.fnmatch(name, glob) or fnmatch.fnmatch(path.relative_to(start).as_posix(), glob):
                    yield path


class ListFilesArguments(Arguments):
    """A folder, and which names."""

    path: str = Field(default=".", description=_PATH)
    glob: str = Field(default="", max_length=100, description=_GLOB + " With one, subfolders are looked through.")


class ListFiles(_FileTool[ListFilesArguments]):
    """What a folder holds."""

    name = "list_files"
    description = "Names in a folder of the user; leave out glob to list all."
    arguments = ListFilesArguments

    async def run(self, arguments: ListFilesArguments) -> ToolOutput:
        """`content`: entries (path, type, bytes), is_complete."""
        return await asyncio.to_thread(self._list, arguments)

    def _list(self, arguments: ListFilesArguments) -> ToolOutput:
        paths = list(self._paths(arguments))
        entries = []
        for path in paths[:MAX_ENTRIES]:
            with contextlib.suppress(FileNotFoundError):  # Deleted since it was listed.
                entries.append(self._entry(path))
        lines = [
            entry["path"] + ("/" if entry["type"] == "folder" else f" ({entry['bytes']:,} bytes)") for entry in entries
        ]
        if len(paths) > MAX_ENTRIES:
            lines.append(f"[only the first {MAX_ENTRIES} are shown: narrow it with glob]")
        text = "\n".join(lines) or "(empty)"
        return ToolOutput(text, {"entries": entries, "is_complete": len(paths) <= MAX_ENTRIES})

    def _paths(self, arguments: ListFilesArguments) -> Iterator[Path]:
        if arguments.path in ("", ".", "/") and len(self._folders.roots) > 1:
            yield from self._folders.roots
            return
        start = self._folders.resolve(arguments.path if arguments.path != "/" else ".")
        if not start.is_dir():
            yield start
        elif arguments.glob:
            yield from self._walk(start, arguments.glob)
        else:
            yield from _children(start)

    def _entry(self, path: Path) -> JsonObject:
        status = path.lstat()
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else "other"
        return {"path": self._folders.display(path), "type": kind, "bytes": status.st_size}


class ReadFileArguments(Arguments):
    """A file, and which of its lines."""

    path: str = Field(min_length=1, description=_PATH)
    start_line: int = Field(default=1, ge=1, description="First line to read.")


class ReadFile(_FileTool[ReadFileArguments]):
    """The text of a file, a bounded piece at a time."""

    name = "read_file"
    description = "Text of a file of the user, such as config.yaml, to find what it says."
    arguments = ReadFileArguments

    async def run(self, arguments: ReadFileArguments) -> ToolOutput:
        """`content`: path, start_line, end_line, text, next_line (absent at the end)."""
        return await asyncio.to_thread(self._read, arguments)

    def _read(self, arguments: ReadFileArguments) -> ToolOutput:
        path = self._folders.resolve(arguments.path)
        lines: list[str] = []
        taken = 0
        number = 0
        next_line = 0
        with self._folders.open(path) as file:
            _refuse_binary(file.read(8_000), self._folders.display(path))
            file.seek(0)
            # A line is read in pieces of bounded size, so that a file of one endless line costs no more than another.
            while piece := file.readline(MAX_READ_BYTES):
                number += 1
                if number < arguments.start_line:
                    continue
                if len(lines) == MAX_LINES or taken + len(piece) > MAX_READ_BYTES:
                    next_line = number
                    break
                taken += len(piece)
                lines.append(piece.decode("utf-8", "replace").rstrip("\r\n"))
        shown = self._folders.display(path)
        if not lines:
            raise ToolError("PAST_END", f"{shown!r} has {number} lines; start_line was {arguments.start_line}.")
        end = arguments.start_line + len(lines) - 1
        content: JsonObject = {
            "path": shown,
            "start_line": arguments.start_line,
            "end_line": end,
            "text": "\n".join(lines),
        }
        text = f"{shown}, lines {arguments.start_line}-{end}:\n" + "\n".join(lines)
        if next_line:
            content["next_line"] = next_line
            text += f"\n[more: start_line={next_line}]"
        return ToolOutput(text, content)


class SearchFilesArguments(Arguments):
    """What to look for, and where."""

    pattern: str = Field(min_length=1, max_length=200, description="Text or regular expression; case does not matter.")
    path: str = Field(default=".", description=_PATH)
    glob: str = Field(default="*", max_length=100, description=_GLOB)


class SearchFiles(_FileTool[SearchFilesArguments]):
    """Lines that match a pattern. RE2 takes linear time whatever the pattern, so no pattern can stall the service."""

    name = "search_files"
    description = "Which files of the user mention a text; leave out path and glob to search all."
    arguments = SearchFilesArguments

    async def run(self, arguments: SearchFilesArguments) -> ToolOutput:
        """`content`: matches (path, line, text), is_complete, skipped (binary, unreadable or large files)."""
        return await asyncio.to_thread(self._search, arguments)

    def _search(self, arguments: SearchFilesArguments) -> ToolOutput:
        start = self._folders.resolve(arguments.path)
        pattern = _compile(arguments.pattern)
        stop = time.monotonic() + SEARCH_TIME.total_seconds()
        matches: list[JsonObject] = []
        skipped = 0
        is_complete = True
        for path in [start] if start.is_file() else self._walk(start, arguments.glob):
            if len(matches) >= MAX_MATCHES or time.monotonic() > stop:
                is_complete = False
                break
            try:
                matches += self._matches_in(path, pattern)
            except ToolError:
                skipped += 1
        if len(matches) > MAX_MATCHES:
            matches, is_complete = matches[:MAX_MATCHES], False
        text = "\n".join(f"{match['path']}:{match['line']}: {match['text']}" for match in matches) or "No line matches."
        text += "" if is_complete else "\n[not everything was searched or shown: narrow it with path or glob]"
        return ToolOutput(text, {"matches": matches, "is_complete": is_complete, "skipped": skipped})

    def _matches_in(self, path: Path, pattern: "re2._Regexp") -> list[JsonObject]:
        shown = self._folders.display(path)
        with self._folders.open(path) as file:
            data = file.read(MAX_SEARCHED_BYTES + 1)
        if len(data) > MAX_SEARCHED_BYTES:
            raise ToolError("FILE_TOO_LARGE", f"{shown!r} is larger than {MAX_SEARCHED_BYTES:,} bytes.")
        _refuse_binary(data[:8_000], shown)
        lines = enumerate(data.decode("utf-8", "replace").splitlines(), 1)
        found = (
            {"path": shown, "line": number, "text": line.strip()[:MAX_LINE_CHARS]}
            for number, line in lines
            if pattern.search(line)
        )
        return list(itertools.islice(found, MAX_MATCHES + 1))


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in itertools.islice(entries, MAX_WALKED))
    except OSError as error:
        raise ToolError("FILE_UNREADABLE", f"{folder.name!r} cannot be listed: {error.strerror}.") from error


def _compile(pattern: str) -> "re2._Regexp":
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        # What is no regular expression is looked for as it stands: "f(x" is a fair thing to search.
        return re2.compile(re2.escape(pattern), options)


def _refuse_binary(head: bytes, shown: str) -> None:
    if b"\0" in head:
        raise ToolError("BINARY_FILE", f"{shown!r} is not text.")
