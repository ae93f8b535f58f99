"""Ask, Runs, Services and System in a real Chromium, over a mesh that `waystation up` brought up with its dashboard."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import grpc
import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from shared.pb import capability_v1, control_v1
from tests.integration.test_mesh import decide
from tests.mesh import ROOT, Mesh, scripted_mesh
from tests.ui.dashboard import CHROMIUM, SWITCHES, Dashboard, served

PATIENCE_MS = 60_000
"""Long, since the machine may be slow: what is waited for comes, or the test fails."""
pytestmark = pytest.mark.timeout(300)
PAGES = ("ask", "runs", "run", "services", "system")
PHONE = {"width": 390, "height": 844}
STORY = " ".join(f"word{number}" for number in range(80))
MARKUP = "<img src=x onerror=alert(1)>"
SCRIPT = [
    {"match": "Result 1", "schema_name": "^decision$", "reply": {"reason": "There is a result.", "next": "answer_now"}},
    decide("function", "coding"),
    decide("retention", "rag"),
    decide("percent", "tools"),
    decide("", "answer_now"),
    {
        "schema_name": "^step$",
        "times": 1,
        "reply": {"tool": "calculate", "arguments": {"expression": "17.5% of 2340"}},
    },
    {"schema_name": "^step$", "reply": {"tool": "finish"}},
    {"match": "percent", "reply": "It is 409.5."},
    {"match": "long story", "reply": STORY, "delay_ms": 100},
    {"match": "double", "reply": "```python\nprint(21 * 2)\n```"},
    {"match": "retention", "reply": "Backups are kept for 35 days [1]."},
    {"match": "markup", "reply": MARKUP},
    {"match": "hi there", "reply": "Hello! How can I help?"},
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    settings = {"WAYSTATION_UI_ENABLED": "true"}
    with scripted_mesh(tmp_path_factory.mktemp("mesh"), SCRIPT, settings) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def board(mesh: Mesh) -> Iterator[Dashboard]:
    """The dashboard that `waystation up` started."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield Dashboard(f"http://127.0.0.1:{mesh.environ['WAYSTATION_UI_PORT']}", browser)
        browser.close()


@pytest.fixture
def page(board: Dashboard) -> Iterator[Page]:
    with board.page() as page:
        yield page


@pytest.fixture
def control(mesh: Mesh) -> Iterator[httpx.Client]:
    base = f"http://127.0.0.1:{mesh.environ['WAYSTATION_CONTROL_HTTP_PORT']}"
    with httpx.Client(base_url=base, trust_env=False, timeout=30) as client:
        yield client


def open_live(page: Page, path: str) -> None:
    page.goto(path)
    expect_connection(page, "live")


def expect_connection(page: Page, phase: str) -> None:
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", phase, timeout=PATIENCE_MS)


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def expect_end(page: Page) -> None:
    expect(page.locator("[data-run]")).to_have_attribute("data-state", "succeeded", timeout=PATIENCE_MS)


def start(control: httpx.Client, query: str) -> str:
    answer = control.post("/api/runs", json={"query": query})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run"]["run_id"])


def mark(page: Page) -> None:
    """So that a reload, which would forget it, is noticed."""
    page.evaluate("() => { window.notReloaded = true; }")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("() => window.notReloaded === true"))


def test_an_answer_streams_in_while_the_run_goes_on(page: Page) -> None:
    open_live(page, "/ask")
    ask(page, "tell me a long story")
    half = "() => document.querySelector('[data-state=running]')?.textContent.includes('word3 ')"
    page.wait_for_function(half, timeout=PATIENCE_MS)
    expect_end(page)
    expect(page.get_by_role("group", name="Answer")).to_have_text(STORY)
    page.get_by_role("link", name="Open the run").click()
    page.wait_for_url(re.compile(r"/runs/run-\w+"))


def test_code_is_shown_with_its_output_the_bars_and_the_decision(page: Page) -> None:
    open_live(page, "/ask")
    ask(page, "write and run a function that can double a number")
    expect_end(page)
    code = page.get_by_role("region", name="Code and what it did")
    expect(code).to_contain_text("print(21 * 2)")
    expect(code).to_contain_text("42")
    decision = page.locator("[data-decision]").first
    expect(decision).to_contain_text("Call coding")
    expect(decision).to_contain_text("decided by the model")
    expect(decision.locator("dd", has_text=re.compile(r"\d+ %"))).to_have_count(3)
    assert "run=run-" in page.url
    page.reload()
    expect(page.get_by_role("region", name="Code and what it did")).to_contain_text("42", timeout=PATIENCE_MS)


def test_a_citation_opens_the_cited_passage(page: Page, mesh: Mesh, tmp_path: Path) -> None:
    note = tmp_path / "backup-policy.md"
    note.write_text("# Backups\n\nThe nightly job runs at two.\n\nThe retention of nightly backups is 35 days.\n")
    assert mesh.run("ingest", str(note)).returncode == 0
    open_live(page, "/ask")
    ask(page, "what is the retention of our nightly backups?")
    expect_end(page)
    passage = page.get_by_text("The retention of nightly backups is 35 days.")
    expect(passage).to_be_hidden()
    page.get_by_role("button", name="Source 1").click()
    expect(passage).to_be_visible()


def test_a_tool_call_is_shown_with_its_arguments_and_its_result(page: Page) -> None:
    open_live(page, "/ask")
    ask(page, "what is 17.5 percent of 2340")
    expect_end(page)
    tool = page.locator("[data-hop] details", has_text="calculate")
    tool.locator("summary").click()
    expect(page.get_by_label("Arguments of calculate")).to_contain_text("17.5% of 2340")
    expect(page.get_by_label("Result of calculate")).to_contain_text("409.5")


def test_the_effort_is_taken_and_the_next_question_goes_on_with_the_thread(page: Page, control: httpx.Client) -> None:
    open_live(page, "/ask")
    page.get_by_label("Effort").click()
    page.get_by_role("option", name="low effort").click()
    ask(page, "hi there, who are you?")
    expect_end(page)
    first = shown_run(page)
    ask(page, "hi there, what can you do?")
    expect(page.locator("[data-run]")).not_to_have_attribute("data-run", first, timeout=PATIENCE_MS)
    expect_end(page)
    one, other = (control.get(f"/api/runs/{run_id}").json() for run_id in (first, shown_run(page)))
    assert (one["effort"], other["effort"]) == ("low", "low")
    assert one["thread_id"] == other["thread_id"]


def shown_run(page: Page) -> str:
    return page.locator("[data-run]").get_attribute("data-run") or ""


def test_markup_in_questions_and_answers_is_text(page: Page) -> None:
    open_live(page, "/ask")
    ask(page, f"markup {MARKUP}")
    expect_end(page)
    expect(page.get_by_role("group", name="Answer")).to_have_text(MARKUP)
    assert page.locator("main img").count() == 0


def test_a_question_that_is_refused_says_why_and_is_kept(page: Page) -> None:
    open_live(page, "/ask")
    ask(page, "   ")
    expect(page.get_by_role("alert").filter(has_text="Write a question first.")).to_be_visible()
    ask(page, "x" * 40_000)
    expect(page.get_by_role("alert").filter(has_text="32768")).to_be_visible()
    expect(page.get_by_role("textbox", name="Question")).to_have_value("x" * 40_000)


def test_the_list_of_runs_is_live_and_its_filters_are_in_the_address(page: Page, control: httpx.Client) -> None:
    open_live(page, "/runs")
    mark(page)
    run_id = start(control, "hi there, list")
    row = page.locator(f'[data-run="{run_id}"]')
    expect(row).to_have_attribute("data-state", "succeeded", timeout=PATIENCE_MS)
    assert is_marked(page)
    page.get_by_role("searchbox").fill("there, list")
    page.wait_for_url(re.compile("text=there"))
    expect(page.locator("[data-run]")).to_have_count(1)
    page.get_by_label("State", exact=True).click()
    page.get_by_role("option", name="Failed").click()
    expect(page.get_by_text("No run fits the filters")).to_be_visible()
    page.reload()
    expect(page.get_by_text("No run fits the filters")).to_be_visible(timeout=PATIENCE_MS)
    page.goto("/runs?state=succeeded&service=nobody")
    expect(page.get_by_text("No run fits the filters")).to_be_visible(timeout=PATIENCE_MS)


def test_older_runs_come_page_by_page(page: Page, control: httpx.Client) -> None:
    runs = control.get("/api/runs", params={"page_size": 500}).json()["runs"]
    for number in range(51 - len(runs)):
        start(control, ("hi there", "hi there, who are you?", "hi there, what can you do?")[number % 3])
    open_live(page, "/runs")
    expect(page.locator("[data-run]")).to_have_count(50, timeout=PATIENCE_MS)
    page.get_by_role("button", name="Older runs").click()
    expect(page.locator("[data-run]")).not_to_have_count(50, timeout=PATIENCE_MS)


def test_every_process_is_listed_with_its_figures(page: Page) -> None:
    open_live(page, "/services")
    for name in ("agent", "coding", "rag", "tools"):
        card = page.locator(f'[data-service="{name}"]')
        expect(card).to_contain_text("Serving", timeout=PATIENCE_MS)
        expect(card).to_contain_text("127.0.0.1:")
        expect(card.locator("svg path.stroke-accent")).to_have_count(3)


def test_a_strange_service_that_does_not_answer_is_on_top_and_says_why(page: Page, mesh: Mesh) -> None:
    name = "n" * 63
    open_live(page, "/services")
    with grpc.insecure_channel(mesh.record("control")["address"]) as channel:
        registry = control_v1.RegistryServiceStub(channel)
        descriptor = capability_v1.Descriptor(
            name=name, version="1", tags=["t" * 63], description=f"{MARKUP} {'w' * 500}", examples=["do it"]
        )
        request = control_v1.RegisterRequest(
            instance_id="stranger", address="127.0.0.1:9", kind="capability", descriptor=descriptor, pid=1
        )
        registry.Register(request, timeout=10)
        first = page.locator("[data-service]").first
        expect(first).to_have_attribute("data-service", name, timeout=PATIENCE_MS)
        expect(first).to_contain_text("health check of 127.0.0.1:9 failed")
        expect(first).to_contain_text(MARKUP)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        registry.Deregister(control_v1.DeregisterRequest(instance_id="stranger"), timeout=10)
    expect(page.locator(f'[data-service="{name}"]')).to_have_count(0, timeout=PATIENCE_MS)


def test_the_mode_is_switched_counts_down_and_follows_the_command_line(page: Page, mesh: Mesh) -> None:
    open_live(page, "/system")
    page.get_by_role("button", name="Turn debug on").click()
    mode = page.locator("[data-mode]")
    expect(mode).to_have_attribute("data-mode", "debug", timeout=PATIENCE_MS)
    expect(mode).to_contain_text(re.compile(r"\d:\d\d left"))
    assert mesh.run("obs", "shipping").returncode == 0
    expect(mode).to_have_attribute("data-mode", "shipping", timeout=PATIENCE_MS)
    expect(page.locator('[data-store="agent"]')).to_contain_text(re.compile(r"\d [KM]iB"))
    expect(page.locator('[data-queue="agent"]')).to_contain_text("0 spans")


def test_a_crash_and_its_recovery_are_told_without_a_reload(page: Page, mesh: Mesh) -> None:
    open_live(page, "/system")
    mark(page)
    os.kill(mesh.record("coding")["pid"], signal.SIGKILL)
    incidents = page.get_by_role("region", name="Crashes and recoveries")
    expect(incidents.locator('[data-incident="process_lost"]').first).to_contain_text("coding", timeout=PATIENCE_MS)
    expect(incidents.locator('[data-incident="process_back"]').first).to_contain_text("coding", timeout=PATIENCE_MS)
    expect(page.locator("[data-mode]")).to_contain_text("A crash laid this over", timeout=PATIENCE_MS)
    assert is_marked(page)
    assert mesh.run("obs", "shipping").returncode == 0


def test_control_goes_away_and_comes_back_without_a_reload(page: Page, mesh: Mesh, control: httpx.Client) -> None:
    open_live(page, "/runs")
    mark(page)
    os.kill(mesh.record("control")["pid"], signal.SIGKILL)
    expect_connection(page, "waiting")
    expect_connection(page, "live")
    run_id = started_somehow(control, "hi there again")
    expect(page.locator(f'[data-run="{run_id}"]')).to_have_attribute("data-state", "succeeded", timeout=PATIENCE_MS)
    assert is_marked(page)


def started_somehow(control: httpx.Client, query: str) -> str:
    """Start a run, again and again while the agent has yet to register with the new control."""
    due = time.monotonic() + PATIENCE_MS / 1_000
    while True:
        try:
            return start(control, query)
        except (AssertionError, httpx.TransportError):
            if time.monotonic() > due:
                raise
            time.sleep(0.2)


def test_without_control_each_page_says_so_and_what_to_do(board: Dashboard) -> None:
    with served(control_port="9") as url, Dashboard(url, board.browser).page() as page:
        for path in ("runs", "services", "system"):
            page.goto(f"/{path}")
            alert = page.get_by_role("main").get_by_role("alert").first
            expect(alert).to_contain_text("The control plane does not answer", timeout=PATIENCE_MS)
            expect(alert).to_contain_text("waystation up")
            expect_connection(page, "waiting")
        page.goto("/ask")
        ask(page, "hi there")
        expect(page.get_by_role("alert").filter(has_text="control plane")).to_be_visible(timeout=PATIENCE_MS)


def test_keys_lead_from_page_to_page_and_say_what_they_do(page: Page, board: Dashboard) -> None:
    open_live(page, "/runs")
    page.locator("main").focus()
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/services")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert board.axe(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/ask")


def test_a_chosen_theme_is_there_from_the_first_byte(page: Page) -> None:
    open_live(page, "/runs")
    page.get_by_role("button", name="System theme").click()
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    answer = page.goto("/services")
    assert answer
    assert 'data-theme="dark"' in answer.text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_and_nothing_is_cut_off(
    board: Dashboard, control: httpx.Client, path: str, theme: Literal["light", "dark"]
) -> None:
    shots = ROOT / "docs" / "screenshots"
    shots.mkdir(exist_ok=True)
    with board.page(theme) as page:
        open_live(page, shown_at(control, path))
        expect(page.locator("[role=status][aria-label^=Loading]")).to_have_count(0, timeout=PATIENCE_MS)
        if path in ("ask", "run"):
            expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
        assert board.axe(page) == []
        page.screenshot(path=shots / f"{path}-{theme}.png")
        page.set_viewport_size(PHONE)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert board.axe(page) == []
        if theme == "light":
            page.screenshot(path=shots / f"{path}-phone.png")


def shown_at(control: httpx.Client, path: str) -> str:
    """The address at which a page has something to show."""
    if path not in ("ask", "run"):
        return f"/{path}"
    question = "write and run a function that can double a number"
    runs = control.get("/api/runs", params={"text": question}).json()["runs"]
    run_id = runs[0]["run_id"] if runs else started_somehow(control, question)
    return f"/ask?run={run_id}" if path == "ask" else f"/runs/{run_id}"


def test_only_this_machine_and_our_own_pages_may_use_the_server(board: Dashboard) -> None:
    with httpx.Client(base_url=board.url, trust_env=False) as client:
        assert client.get("/ask", headers={"Host": "rebound.example"}).status_code == 403
        foreign = {"Origin": "http://rebound.example"}
        assert client.put("/api/mode", json={"mode": "debug"}, headers=foreign).status_code == 403
        simple = {"Sec-Fetch-Site": "cross-site"}
        assert client.put("/api/mode", json={"mode": "debug"}, headers=simple).status_code == 403
        assert client.get("/api/mode").json()["mode"] == "shipping"
        big = client.post("/api/runs", content=b"x" * (1024 * 1024 + 1), headers={"Content-Type": "application/json"})
        assert big.status_code == 413
        policy = client.get("/ask").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy


def test_events_pass_through_as_they_come(board: Dashboard) -> None:
    with httpx.Client(base_url=board.url, trust_env=False, timeout=30) as client:
        accept = {"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
        with client.stream("GET", "/api/events", headers=accept) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "content-encoding" not in answer.headers
            # the stream does not end: what is read now was not held back
            assert next(answer.iter_lines()).startswith(("event:", "id:"))
