"""A failed test leaves its processes' logs and spans in one folder and says where; a passing one leaves nothing."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest
from tests.kept_homes import kept_if_failing

@pytest.fixture(scope="module")
def home():
    from pathlib import Path
    with kept_if_failing(Path("home").absolute()):
        yield

def test_passes(home): pass
def test_fails(home): assert False
@pytest.mark.parametrize("x", ["a/../b"])
def test_has_a_bad_name(home, x): assert False
"""


def test_the_failed_ones_are_kept_under_their_names(tmp_path: Path) -> None:
    (tmp_path / "home" / "logs").mkdir(parents=True)
    (tmp_path / "home" / "logs" / "agent.log").write_text("it said this\n")
    (tmp_path / "home" / "models").mkdir()
    with sqlite3.connect(tmp_path / "home" / "control.db") as database:
        database.execute("CREATE TABLE spans (name, start_ns, body BLOB)")
        database.execute("INSERT INTO spans VALUES ('late', 2, '{}'), ('early', 1, ?)", (b'{"attributes": {}}',))
    (tmp_path / "test_it.py").write_text(TESTS)
    kept = tmp_path / "kept"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.kept_homes", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WAYSTATION_FAILED_TESTS": str(kept)},
        capture_output=True,
        text=True,
        check=False,
    )
    names = sorted(folder.name for folder in kept.iterdir())
    assert names == ["test_it.py_test_fails", "test_it.py_test_has_a_bad_name_a_.._b"], done.stdout
    home = kept / names[0] / "home"
    assert f"Their logs and spans are kept in {kept / names[0]}" in done.stdout
    assert (home / "logs" / "agent.log").read_text() == "it said this\n" and not (home / "models").exists()
    spans = [json.loads(line) for line in (home / "logs" / "spans.jsonl").read_text().splitlines()]
    assert [(span["name"], span["body"]) for span in spans] == [("early", {"attributes": {}}), ("late", "{}")]
