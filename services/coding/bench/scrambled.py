"""Gives a mesh the scrambler: its process, and the workflow `review` with it in the reviewer's place."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.coding.bench.own_mesh import Mesh
from services.coding.bench.scrambler import NAME
from shared.errors import InternalError, Unavailable

WORKFLOW = "review-scrambled"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1


def scrambled_workflow(shipped: str) -> str:
    """The document of `review`, under another name, with the scrambler as reviewer."""
    reviewer = "capability: coding\n    role: reviewer"
    if shipped.count(reviewer) != 1 or "\nname: review\n" not in f"\n{shipped}":
        raise InternalError("The workflow review is not what this bench knows.", remedy="Adapt scrambled_workflow.")
    renamed = f"\n{shipped}".replace("\nname: review\n", f"\nname: {WORKFLOW}\n").lstrip("\n")
    # the scrambler's own call costs a hop as well, which the last review of five would not have
    return renamed.replace(reviewer, reviewer.replace("coding", NAME)).replace("max_hops: 5", "max_hops: 7")


@contextmanager
def scrambler(mesh: Mesh, findings: Path) -> Iterator[None]:
    """Serves it as a process of the mesh; `findings` is read anew at each call. Raises Unavailable when it ends."""
    environ = {
        **mesh.environ,
        "WAYSTATION_SCRAMBLER_CODING_ADDRESS": mesh.address("coding"),
        "WAYSTATION_SCRAMBLER_FINDINGS": str(findings),
    }
    process = subprocess.Popen([sys.executable, "-m", "services.coding.bench.scrambler"], env=environ)
    try:
        _await_ready(process, mesh.home / "run" / f"{NAME}.json")
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", ready: Path) -> None:
    give_up = time.monotonic() + START_TIMEOUT_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > give_up:
            raise Unavailable("The scrambler did not come up.")
        time.sleep(POLL_S)
