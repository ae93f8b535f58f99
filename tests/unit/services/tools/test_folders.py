"""No name, and no link, leads out of the allowed folders."""

import os
from pathlib import Path

import pytest

from services.tools.folders import AllowedFolders
from services.tools.tool import ToolError


def reason_of(folders: AllowedFolders, name: str) -> str:
    with pytest.raises(ToolError) as caught, folders.open(folders.resolve(name)):
        pass
    return caught.value.reason


def test_a_file_inside_is_opened_by_relative_and_absolute_name(root: Path, folders: AllowedFolders) -> None:
    for name in ("a.txt", "./notes/../a.txt", str(root / "a.txt")):
        with folders.open(folders.resolve(name)) as file:
            assert file.read(5) == b"Hello"


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "notes/../../secret.txt", "a\0b", "x" * 1_001, ".."])
def test_a_name_that_leads_out_is_refused(folders: AllowedFolders, name: str) -> None:
    assert reason_of(folders, name) == "OUTSIDE_FOLDERS"


def test_a_link_out_is_refused_and_a_link_inside_is_followed(root: Path, folders: AllowedFolders) -> None:
    (root / "out").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to(root.parent)
    (root / "in").symlink_to("a.txt")
    assert reason_of(folders, "out") == "OUTSIDE_FOLDERS"
    assert reason_of(folders, "up/secret.txt") == "OUTSIDE_FOLDERS"
    assert folders.resolve("in") == root / "a.txt"


def test_a_link_put_in_after_the_look_is_not_followed(root: Path, folders: AllowedFolders) -> None:
    path, folder = folders.resolve("a.txt"), folders.resolve("notes/b.md")
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(root.parent / "secret.txt")
    (root / "notes").rename(root / "old")
    (root / "notes").symlink_to(root / "old")
    for resolved in (path, folder):
        with pytest.raises(ToolError) as caught, folders.open(resolved):
            pass
        assert caught.value.reason == "FILE_UNREADABLE"


def test_what_is_no_regular_file_is_refused_without_waiting(root: Path, folders: AllowedFolders) -> None:
    os.mkfifo(root / "pipe")
    assert reason_of(folders, "pipe") == "NOT_A_FILE"
    assert reason_of(folders, "notes") == "NOT_A_FILE"
    assert reason_of(folders, ".") == "NOT_A_FILE"


def test_absent_files_and_circles_of_links_are_told_apart(root: Path, folders: AllowedFolders) -> None:
    (root / "loop").symlink_to("loop")
    assert reason_of(folders, "nope") == "FILE_NOT_FOUND"
    assert reason_of(folders, "y" * 400) == "FILE_NOT_FOUND"
    assert reason_of(folders, "loop") in ("FILE_UNREADABLE", "FILE_NOT_FOUND")


def test_refused_opens_leave_no_descriptor_behind(root: Path, folders: AllowedFolders) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("notes", ".", "notes"):
        reason_of(folders, name)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_is_looked_for_in_each_folder(root: Path) -> None:
    folders = AllowedFolders([root / "notes", root])
    assert folders.resolve("a.txt") == root / "a.txt"
    assert folders.display(root / "a.txt") == str(root / "a.txt")


def test_without_folders_everything_is_outside() -> None:
    assert reason_of(AllowedFolders([]), "a.txt") == "OUTSIDE_FOLDERS"
