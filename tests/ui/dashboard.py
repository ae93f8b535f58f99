"""The built dashboard beside a mesh, and pages of it in a real Chromium."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.mesh import ROOT, Mesh

BUILT = Path(os.environ.get("WAYSTATION_UI_BUILT", ROOT / "ui_service" / "dist" / "current"))
AXE = ROOT / "ui_service" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
START_TIMEOUT_S = 60
expect.set_options(timeout=20_000)  # a page has its news at once, but the machine may be busy


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that serves, and a browser to look at it with."""

    url: str
    browser: Browser

    @contextmanager
    def page(self, theme: Literal["light", "dark"] = "light", width: int = 1280, height: int = 860) -> Iterator[Page]:
        """A page in a browser context of its own; what goes wrong in its scripts fails the test."""
        failures: list[str] = []
        context = self.browser.new_context(
            base_url=self.url, color_scheme=theme, viewport={"width": width, "height": height}, reduced_motion="reduce"
        )
        page = context.new_page()
        page.add_init_script(path=AXE)
        page.on("pageerror", lambda error: failures.append(str(error)))
        try:
            yield page
        finally:
            context.close()
        assert not failures, failures

    def axe(self, page: Page) -> list[dict[str, Any]]:
        """What axe finds wrong with the page as it is."""
        found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        return [
            {"rule": each["id"], "help": each["help"], "nodes": [node["html"][:200] for node in each["nodes"][:3]]}
            for each in found["violations"]
        ]


@contextmanager
def dashboard(mesh: Mesh) -> Iterator[Dashboard]:
    """Serve the built dashboard for a mesh, and open a browser."""
    with served(mesh.environ["WAYSTATION_CONTROL_HTTP_PORT"]) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield Dashboard(url, browser)
        browser.close()


@contextmanager
def served(control_port: str) -> Iterator[str]:
    """Serve the built dashboard for the control plane at a port; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    settings = {
        "PORT": str(port),
        "HOSTNAME": "127.0.0.1",
        "WAYSTATION_UI_TETHERED": "1",
        "WAYSTATION_CONTROL_URL": f"http://127.0.0.1:{control_port}",
    }
    command = ["node", "serve.mjs"]
    built = BUILT.resolve(strict=True)
    with subprocess.Popen(command, cwd=built, env={**os.environ, **settings}, stdin=subprocess.PIPE) as server:
        try:
            wait_until_it_serves(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_until_it_serves(url: str) -> None:
    due = time.monotonic() + START_TIMEOUT_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < due:
            with suppress(httpx.TransportError):
                if client.get(f"{url}/health").status_code == 200:
                    return
            time.sleep(0.1)
    raise AssertionError(f"The dashboard does not serve at {url}.")
