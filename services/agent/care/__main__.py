"""What `waystation backup` runs: JSON objects on standard output, one a line; progress first, one result in the end.

Lines are {"progress": {stage, done, total}}, then {"result": …} or {"error": {reason, message, remedy, metadata}}.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from services.agent.care.agent_store import store_care
from services.agent.care.store_care import StoreCare
from services.agent.care.upkeep import lock_path
from services.agent.settings import AgentSettings
from shared.errors import NotFound, WaystationError
from shared.storage.backup import Backup
from shared.storage.file_lock import locked

PROGRESS_EVERY_S = 0.1


class ProgressLines:
    """Prints progress, but not more often than it can be read."""

    def __init__(self) -> None:
        self._printed_at = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Hear of progress."""
        now = time.monotonic()
        if now - self._printed_at >= PROGRESS_EVERY_S or done == total:
            self._printed_at = now
            _print({"progress": {"stage": stage, "done": done, "total": total}})


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.agent.care")
    parser.add_argument("verb", choices=("create", "list", "verify", "restore", "accept"))
    parser.add_argument("name", nargs="?", default="")
    chosen = parser.parse_args(arguments)
    try:
        settings = AgentSettings.load(os.environ)
        care = store_care(settings.home, settings.backup_count)
        _print({"result": _run(care, chosen.verb, chosen.name)})
    except WaystationError as error:
        row = {"reason": error.reason, "message": error.message, "remedy": error.remedy, "metadata": error.metadata}
        _print({"error": row})
        return 1
    return 0


def _run(care: StoreCare, verb: str, name: str) -> Any:
    progress = ProgressLines()
    match verb:
        case "create":
            if not care.path.exists():
                raise NotFound(f"There is no {care.path}.", remedy="The agent makes it when it is started first.")
            return _row(care.create_backup(progress))
        case "list":
            return {
                "backups": [_row(backup) for backup in care.backups.backups()],
                "events": [entry.as_dict for entry in care.journal.entries() if entry.kind != "backup"],
                "counts": care.journal.counts(),
            }
        case "verify":
            chosen = [care.backups.find(name)] if name else care.backups.backups()
            return [
                {"name": backup.name, "problems": care.backups.problems(backup, progress), "damage": backup.damage}
                for backup in chosen
            ]
        case "restore":
            with _stopped(care):
                return care.restore(name, progress).as_dict
        case _:
            with _stopped(care):
                return {"generation": care.accept()}


@contextmanager
def _stopped(care: StoreCare) -> Iterator[None]:
    """While no agent has the folder. Raises `StorageUnavailable` when one has."""
    with locked(lock_path(care.path.parent)):
        yield


def _row(backup: Backup) -> dict[str, Any]:
    return asdict(backup) | {"name": backup.name, "path": str(backup.path)}


def _print(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
