"""Ingesting: what is found, what is sent, and what is said of it."""

import json
import os
from pathlib import Path

import pytest

from services.cli.upload import PIECE_BYTES
from services.cli.walk import FoundFile, PassedOver, find_files
from shared.errors import NotFound
from tests.fakes.rag_service import FakeRag
from tests.unit.services.cli.conftest import Waystation


def sources(*paths: Path, max_bytes: int = 1_000) -> list[str]:
    return [file.source for file in find_files(paths, max_bytes) if isinstance(file, FoundFile)]


def write(path: Path, content: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_changed_documents_are_sent_and_unchanged_ones_are_not(waystation: Waystation, rag: FakeRag) -> None:
    write(Path("docs/a.md"), "a")
    write(Path("docs/b.md"), "b")
    assert json.loads(waystation("ingest", "docs", "--json").stdout)["summary"]["added"] == 2
    write(Path("docs/b.md"), "changed")
    summary = json.loads(waystation("ingest", "docs", "--json").stdout)["summary"]
    assert summary == {"added": 0, "replaced": 1, "unchanged": 1, "skipped": 0}
    assert rag.stored == {"docs/a.md": b"a", "docs/b.md": b"changed"}


def test_a_bad_document_is_reported_and_the_rest_is_stored(waystation: Waystation, rag: FakeRag) -> None:
    write(Path("docs/a.md"), "a")
    write(Path("docs/b.bin"), "b\0")
    write(Path("docs/c.md"), "")
    result = waystation("ingest", "docs")
    assert result.exit_code == 0
    assert "It is binary." in result.stdout and "It is empty." in result.stdout
    assert "1 added, 0 replaced, 0 unchanged, 2 skipped" in result.stdout


def test_large_documents_go_in_pieces(waystation: Waystation, rag: FakeRag) -> None:
    write(Path("large.txt"), "x" * (2 * PIECE_BYTES + 5))
    assert waystation("ingest", "large.txt").exit_code == 0
    assert len(rag.stored["large.txt"]) == 2 * PIECE_BYTES + 5
    assert rag.largest_piece == PIECE_BYTES


def test_when_everything_is_skipped_the_exit_code_says_so(waystation: Waystation, rag: FakeRag) -> None:
    write(Path("large.txt"), "x" * 5_000)
    assert waystation("ingest", "large.txt", "--max-mb", "0.001").exit_code == 1


def test_hidden_and_built_folders_are_passed_over(home: Path) -> None:
    for name in ("a.md", ".git/config", "node_modules/x.js", ".hidden", "mine/pyvenv.cfg", "mine/lib.py", "sub/b.md"):
        write(Path("tree") / name)
    assert sources(Path("tree")) == ["tree/a.md", "tree/sub/b.md"]


def test_a_hidden_file_that_is_named_is_taken(home: Path) -> None:
    assert sources(write(Path(".notes.md"))) == [".notes.md"]


def test_loops_of_links_end_and_each_file_comes_once(home: Path) -> None:
    write(Path("tree/a.md"))
    Path("tree/loop").symlink_to("..")
    Path("tree/same.md").symlink_to("a.md")
    assert sources(Path("tree"), Path("tree/a.md")) == ["tree/a.md"]


def test_broken_links_pipes_and_large_files_are_reported(home: Path) -> None:
    write(Path("tree/large.md"), "x" * 2_000)
    Path("tree/broken").symlink_to("nowhere")
    os.mkfifo("tree/pipe")
    passed = {item.source: item.message for item in find_files([Path("tree")], 1_000) if isinstance(item, PassedOver)}
    assert passed.keys() == {"tree/large.md", "tree/broken", "tree/pipe"}
    assert "--max-mb" in passed["tree/large.md"]


def test_a_file_elsewhere_is_known_by_its_whole_path(home: Path, tmp_path: Path) -> None:
    assert sources(write(tmp_path / "a.md")) == [str(tmp_path / "a.md")]


def test_a_path_that_is_not_there_is_refused(home: Path) -> None:
    with pytest.raises(NotFound, match="absent"):
        list(find_files([Path("absent")], 1))
