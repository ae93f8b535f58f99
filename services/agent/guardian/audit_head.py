"""What the audit log had at least: a copy of its newest entry's hash beside agent.db, so that a cut end is noticed."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from services.agent.guardian.audit import Head
from shared.storage.durable_file import write_durably

logger = logging.getLogger(__name__)

FILE_NAME = "audit.head.json"


class AuditHead:
    """The file. It is written after the commit of an entry, so that it is never ahead of the log."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def read(self) -> Head | None:
        """The newest head that was copied; None when there is none."""
        try:
            row = json.loads(self._path.read_bytes())
            return Head(int(row["generation"]), int(row["entry"]), str(row["sha256"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.error("%s cannot be read, so a cut end of the audit log would not be noticed: %s", self._path, error)
            return None

    def write(self, head: Head) -> None:
        """Copy a head that is committed. Raises `OSError`."""
        write_durably(self._path, json.dumps(asdict(head)).encode())
