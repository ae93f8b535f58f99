"""What was done to a store and why: one JSON object a line, the newest last, in a file beside its backups."""

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.storage.durable_file import write_durably

MAX_ENTRIES = 1_000


@dataclass(frozen=True)
class Entry:
    """Something that happened to the store."""

    kind: str
    """Such as `backup`, `corrupt`, `salvaged`, `restored`, `refused`."""
    message: str
    time_ns: int
    """Unix time in nanoseconds."""
    facts: dict[str, Any]

    @property
    def as_dict(self) -> dict[str, Any]:
        """The entry as its line has it."""
        return {"kind": self.kind, "message": self.message, "time_ns": self.time_ns, "facts": self.facts}


class Journal:
    """The file; it is read whole, and bounded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, kind: str, message: str, **facts: Any) -> Entry:
        """Append an entry; the oldest beyond the bound go. Raises `OSError`."""
        entry = Entry(kind, message, time.time_ns(), facts)
        kept = [*self.entries(), entry][-MAX_ENTRIES:]
        write_durably(self._path, b"".join(json.dumps(item.as_dict).encode() + b"\n" for item in kept))
        return entry

    def entries(self) -> list[Entry]:
        """All entries, oldest first; a line that cannot be read is passed over."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return []
        entries = []
        for line in lines:
            try:
                row = json.loads(line)
                entries.append(Entry(str(row["kind"]), str(row["message"]), int(row["time_ns"]), dict(row["facts"])))
            except (ValueError, KeyError, TypeError):
                continue
        return entries

    def counts(self) -> Counter[str]:
        """How often each kind happened, as far back as the journal goes."""
        return Counter(entry.kind for entry in self.entries())
