"""List, read and search show what the allowed folders hold, in bounded pieces."""

import os
import time
from pathlib import Path

import pytest

from services.tools.builtin import files
from services.tools.builtin.files import ListFiles, ReadFile, SearchFiles
from services.tools.folders import AllowedFolders
from services.tools.tool import ToolError


async def test_a_folder_is_listed_in_order(root: Path, folders: AllowedFolders) -> None:
    (root / "out").symlink_to(root.parent / "secret.txt")
    output = await ListFiles(folders).call({})
    assert output.text.splitlines()[:2] == ["a.txt (16 bytes)", "notes/"]
    assert [entry["type"] for entry in output.content["entries"]] == ["file", "folder", "other"]


async def test_a_glob_looks_through_subfolders(folders: AllowedFolders) -> None:
    assert (await ListFiles(folders).call({"glob": "*.md"})).text == "notes/b.md (12 bytes)"


async def test_a_long_listing_says_that_it_is_cut(
    root: Path, folders: AllowedFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 1)
    output = await ListFiles(folders).call({})
    assert len(output.content["entries"]) == 1
    assert output.content["is_complete"] is False
    assert "only the first 1" in output.text


async def test_several_folders_are_listed_by_name(root: Path) -> None:
    output = await ListFiles(AllowedFolders([root, root / "notes"])).call({})
    assert [entry["path"] for entry in output.content["entries"]] == [str(root), str(root / "notes")]


async def test_a_file_is_read_from_a_line_on(folders: AllowedFolders) -> None:
    output = await ReadFile(folders).call({"path": "a.txt", "start_line": 2})
    assert output.content == {"path": "a.txt", "start_line": 2, "end_line": 3, "text": "world\nf(x"}


async def test_a_long_file_comes_in_pieces_that_join(root: Path, folders: AllowedFolders) -> None:
    lines = [f"line {number} " + "x" * 40 for number in range(1, 1_001)]
    (root / "long.txt").write_text("\n".join(lines))
    start, found = 1, []
    while start:
        content = (await ReadFile(folders).call({"path": "long.txt", "start_line": start})).content
        assert len(content["text"]) <= files.MAX_READ_BYTES
        found += content["text"].splitlines()
        start = content.get("next_line", 0)
    assert found == lines


async def test_one_endless_line_is_read_within_bounds(root: Path, folders: AllowedFolders) -> None:
    (root / "endless").write_text("x" * 1_000_000)
    output = await ReadFile(folders).call({"path": "endless"})
    assert len(output.content["text"]) == files.MAX_READ_BYTES
    assert output.content["next_line"] == 2


@pytest.mark.parametrize("content, reason", [(b"\x7fELF\0\1", "BINARY_FILE"), (b"", "PAST_END")])
async def test_what_is_not_text_is_refused(root: Path, folders: AllowedFolders, content: bytes, reason: str) -> None:
    (root / "odd").write_bytes(content)
    with pytest.raises(ToolError) as caught:
        await ReadFile(folders).call({"path": "odd"})
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "pattern, lines",
    [
        ("hello", ["a.txt:1: Hello", "notes/b.md:1: hello there"]),
        ("^w.*d$", ["a.txt:2: world"]),
        ("f(x", ["a.txt:3: f(x"]),
        ("s3cret", ["No line matches."]),
    ],
)
async def test_lines_are_found_by_text_or_expression(folders: AllowedFolders, pattern: str, lines: list[str]) -> None:
    assert (await SearchFiles(folders).call({"pattern": pattern})).text.splitlines() == lines


async def test_a_search_skips_what_it_may_not_or_cannot_read(root: Path, folders: AllowedFolders) -> None:
    (root / "binary").write_bytes(b"hello\0")
    (root / "out").symlink_to(root.parent / "secret.txt")
    os.mkfifo(root / "pipe")
    output = await SearchFiles(folders).call({"pattern": "hello|s3cret"})
    assert len(output.content["matches"]) == 2
    assert output.content["skipped"] == 3


async def test_an_expression_that_explodes_elsewhere_takes_linear_time(root: Path, folders: AllowedFolders) -> None:
    (root / "a.txt").write_text("a" * 50_000 + "b")
    started = time.process_time()
    await SearchFiles(folders).call({"pattern": "(a+)+$"})
    assert time.process_time() - started < 1


async def test_many_matches_are_cut_and_said_to_be(root: Path, folders: AllowedFolders) -> None:
    (root / "a.txt").write_text("hit\n" * 500)
    output = await SearchFiles(folders).call({"pattern": "hit"})
    assert len(output.content["matches"]) == files.MAX_MATCHES
    assert output.content["is_complete"] is False
    assert "narrow it" in output.text
