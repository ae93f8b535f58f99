"""The ready file: there while the process serves, gone afterwards."""

import json
import os
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.process import new_instance_id, ready_file


def test_the_file_is_there_while_the_context_lasts(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rag.json"
    with ready_file(tmp_path, "rag", "127.0.0.1:7420"):
        assert json.loads(path.read_text()) == {"service": "rag", "pid": os.getpid(), "address": "127.0.0.1:7420"}
        assert list(path.parent.iterdir()) == [path]
    assert not path.exists()


def test_the_file_goes_when_serving_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ready_file(tmp_path, "rag", "127.0.0.1:7420"):
        raise RuntimeError
    assert not list((tmp_path / "run").iterdir())


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rag.json"
    path.parent.mkdir()
    path.write_text("half a fi")
    with ready_file(tmp_path, "rag", "127.0.0.1:7421"):
        assert json.loads(path.read_text())["address"] == "127.0.0.1:7421"


def test_a_newer_process_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rag.json"
    newer = json.dumps({"service": "rag", "pid": os.getpid() + 1, "address": "127.0.0.1:7420"})
    with ready_file(tmp_path, "rag", "127.0.0.1:7420"):
        path.write_text(newer)
    assert path.read_text() == newer


def test_a_file_that_is_gone_already_is_no_mistake(tmp_path: Path) -> None:
    with ready_file(tmp_path, "rag", "127.0.0.1:7420"):
        (tmp_path / "run" / "rag.json").unlink()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageUnavailable, match=r"rag\.json cannot be written") as caught:
        with ready_file(tmp_path / "file", "rag", "127.0.0.1:7420"):
            pass
    assert "WAYSTATION_HOME" in caught.value.remedy


def test_each_life_has_an_id_of_its_own() -> None:
    assert new_instance_id("rag").startswith("rag-")
    assert new_instance_id("rag") != new_instance_id("rag")
