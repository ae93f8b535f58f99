"""The folders that tools may read: names to files inside them, opened so that no link can lead out."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from services.tools.tool import ToolError


class AllowedFolders:
    """A few root folders; everything outside them does not exist for the tools that use this."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.expanduser().resolve() for root in roots)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The resolved roots."""
        return self._roots

    def resolve(self, name: str) -> Path:
        """The real path of a name, relative to a root or absolute. Links are followed as long as they stay inside.

        Raises ToolError OUTSIDE_FOLDERS or FILE_NOT_FOUND.
        """
        if "\0" in name or len(name) > 1_000:
            raise ToolError("OUTSIDE_FOLDERS", "A path has at most 1000 characters and no null character.")
        inside = [path for path in self._candidates(name) if self._root_of(path) is not None]
        if not inside:
            raise ToolError("OUTSIDE_FOLDERS", f"{name!r} is outside the allowed folders: {self._shown_roots()}.")
        for path in inside:
            if os.path.exists(path):  # Unlike Path.exists it takes a forbidden folder for an absent one.
                return path
        raise ToolError(
            "FILE_NOT_FOUND", f"There is no {name!r} in the allowed folders; list_files shows what there is."
        )

    def display(self, path: Path) -> str:
        """A path as tools show and take it: relative to the root when there is one root, else absolute."""
        root = self._root_of(path)
        if root is None or len(self._roots) > 1:
            return str(path)
        return path.relative_to(root).as_posix()

    @contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """Open a regular file for reading, `path` being what `resolve` returned.

        Each folder on the way is opened from its parent without following links, so a link put there after `resolve`
        looked is refused. Raises ToolError NOT_A_FILE, FILE_NOT_FOUND or FILE_UNREADABLE.
        """
        root = self._root_of(path)
        if root is None:
            raise ToolError("OUTSIDE_FOLDERS", f"{path} is outside the allowed folders.")
        descriptor = self._open_beneath(root, path)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ToolError("NOT_A_FILE", f"{self.display(path)!r} is not a regular file.")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def _open_beneath(self, root: Path, path: Path) -> int:
        parts = path.relative_to(root).parts
        try:
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for part in parts[:-1]:
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                    os.close(folder)
                    folder = inner
                # Non-blocking, or opening a pipe would wait for its writer.
                return os.open(parts[-1] if parts else ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            finally:
                os.close(folder)
        except FileNotFoundError as error:
            raise ToolError("FILE_NOT_FOUND", f"{self.display(path)!r} is not there any more.") from error
        except OSError as error:
            raise ToolError("FILE_UNREADABLE", f"{self.display(path)!r} cannot be read: {error.strerror}.") from error

    def _candidates(self, name: str) -> Iterator[Path]:
        for root in self._roots:
            try:
                # An absolute name replaces the root; resolving removes every ".." and link.
                yield (root / name).resolve()
            except (OSError, RuntimeError) as error:
                raise ToolError(
                    "FILE_UNREADABLE", f"{name!r} cannot be followed: its links lead in a circle."
                ) from error

    def _root_of(self, path: Path) -> Path | None:
        return next((root for root in self._roots if path.is_relative_to(root)), None)

    def _shown_roots(self) -> str:
        return ", ".join(map(str, self._roots)) or "none are set"
