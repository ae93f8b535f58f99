"""Puts one database in the place of another, which is kept: all of it happens, or nothing, whenever the process dies.

A database and its write-ahead log are two files, and no file system renames two at once. What is meant to happen is
therefore written down first, and finished at the next start.
"""

import json
from pathlib import Path

from shared.errors import StorageCorrupt
from shared.storage.durable_file import sync_folder, write_durably

SIDE_FILES = ("-wal", "-shm", "-journal")


def replace_database(path: Path, replacement: Path, aside: Path) -> None:
    """Move the database at `path`, its log included, to `aside`, and `replacement` to `path`.

    All three are in one folder, nobody has them open, and `replacement` is synced and without a log. Raises `OSError`.
    """
    plan = {"replacement": replacement.name, "aside": aside.name}
    write_durably(_plan_path(path), json.dumps(plan).encode())
    finish_replacement(path)


def finish_replacement(path: Path) -> bool:
    """Finish what `replace_database` began before its process died; False when there is nothing to finish."""
    plan_path = _plan_path(path)
    if not plan_path.exists():
        return False
    try:
        plan = json.loads(plan_path.read_bytes())
        replacement, aside = path.with_name(plan["replacement"]), path.with_name(plan["aside"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageCorrupt(
            f"{plan_path}, which says how {path.name} is being replaced, cannot be read.",
            remedy=f"Look which of the files beside {path.name} is the right one, then remove {plan_path.name}.",
            path=plan_path,
        ) from error
    if replacement.exists():  # its renaming is the last step
        for suffix in (*SIDE_FILES, ""):
            _move(Path(f"{path}{suffix}"), Path(f"{aside}{suffix}"))
        sync_folder(path.parent)
        replacement.replace(path)
        sync_folder(path.parent)
    plan_path.unlink()
    return True


def _move(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        source.rename(target)


def _plan_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.replacing.json")
