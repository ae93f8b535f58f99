"""The README's tour on the default model: routed, decided, cited, executed, calculated."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from shared.models.manifest import load_manifest
from shared.models.store import ModelStore
from shared.settings import Settings
from tests.mesh import Mesh, prepared_mesh
from tests.ui.dashboard import dashboard

pytestmark = pytest.mark.timeout(900)
PATIENCE_MS = 300_000


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is up, with the models that `make models` has got."""
    store = ModelStore(Settings.load(os.environ).home)
    missing = [entry.name for entry in load_manifest() if store.state(entry) != "present"]
    assert not missing, f"{', '.join(missing)} missing: run `make models` first"
    home = tmp_path_factory.mktemp("questions") / "home"
    home.mkdir()
    (home / "models").symlink_to(store.folder)
    with prepared_mesh(home, {}) as mesh:
        started = mesh.run("up", "--detach", "--json")
        assert started.returncode == 0, (started.stdout, started.stderr, mesh.logs())
        yield mesh


def test_small_talk_is_answered_without_a_hop(mesh: Mesh) -> None:
    answer = mesh.answer("ask", "hi there")
    assert answer["answer"]
    assert answer["hops"] == []


def test_a_question_about_a_document_is_answered_with_its_lines(mesh: Mesh, tmp_path: Path) -> None:
    policy = tmp_path / "backup-policy.md"
    policy.write_text("# Backup policy\n\nThe nightly job runs at two.\n\nNightly backups are kept for 35 days.\n")
    assert mesh.run("ingest", str(policy)).returncode == 0
    answer = mesh.answer("ask", "How long do we keep nightly backups?")
    assert "35 days" in answer["answer"]
    assert any(item["source"].endswith("backup-policy.md") for item in answer["citations"])


def test_a_function_is_written_and_run(mesh: Mesh) -> None:
    answer = mesh.answer("ask", "write and run a function that returns the n-th Fibonacci number, and show the 20th")
    assert [hop["capability"] for hop in answer["hops"]] == ["coding"]
    [run] = [item for item in answer["artifacts"] if item["kind"] == "run"]
    assert run["metadata"]["exit_code"] == "0"
    assert "6765" in run["text"]


def test_numbers_and_dates_come_from_tools(mesh: Mesh) -> None:
    answer = mesh.answer("ask", "what is 17.5 % of 2,340, and what day was 1999-12-31")
    assert "409.5" in answer["answer"]
    assert "Friday" in answer["answer"]
    assert {hop["capability"] for hop in answer["hops"]} == {"tools"}


def test_the_dashboard_shows_how_the_real_model_comes_to_its_answer(mesh: Mesh) -> None:
    with dashboard(mesh) as board, board.page() as page:
        page.goto("/ask")
        page.get_by_role("textbox", name="Question").fill("what is 17.5 % of 2,340")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=PATIENCE_MS)
        answer = page.get_by_role("region", name="Answer")
        expect(answer).to_contain_text("409.5")
        page.get_by_role("link", name="Open the run").click()
        expect(page.get_by_text("tool.call").first).to_be_visible(timeout=PATIENCE_MS)
