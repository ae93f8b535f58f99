"""The journal of a store."""

from pathlib import Path

import pytest

from shared.storage import journal
from shared.storage.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "journal.jsonl"


def test_entries_come_back_in_their_order_and_are_counted(path: Path) -> None:
    Journal(path).add("backup", "made", size=3)
    Journal(path).add("corrupt", "page 4")
    entries = Journal(path).entries()
    assert [(entry.kind, entry.message, entry.facts) for entry in entries] == [
        ("backup", "made", {"size": 3}),
        ("corrupt", "page 4", {}),
    ]
    assert Journal(path).counts() == {"backup": 1, "corrupt": 1}


def test_the_oldest_go_beyond_the_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_ENTRIES", 3)
    for number in range(5):
        Journal(path).add("backup", str(number))
    assert [entry.message for entry in Journal(path).entries()] == ["2", "3", "4"]


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"kind": "x"}', b"\xff\xfe", b""])
def test_a_line_that_cannot_be_read_is_passed_over(path: Path, line: bytes) -> None:
    Journal(path).add("backup", "before")
    path.write_bytes(path.read_bytes() + line + b"\n")
    Journal(path).add("backup", "after")
    assert [entry.message for entry in Journal(path).entries()] == ["before", "after"]


def test_what_is_not_there_is_empty(path: Path) -> None:
    assert Journal(path).entries() == []
