"""A tethered program dies with its supervisor, however that ends."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[4]
SUPERVISOR = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "services.cli.tethered", str(os.getpid()), sys.argv[1]], stdin=subprocess.PIPE
)
print(child.pid, flush=True)
child.wait()
"""


def test_a_killed_supervisor_takes_its_children_with_it(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import signal, sys; print('up', flush=True); signal.pause()")
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    command = [sys.executable, "-c", SUPERVISOR, "sleeper"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as supervisor:
        assert supervisor.stdout
        child = psutil.Process(int(supervisor.stdout.readline()))
        assert supervisor.stdout.readline() == "up\n"
        os.kill(supervisor.pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess):
        child.wait(10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_program_whose_supervisor_is_gone_does_not_start() -> None:
    command = [sys.executable, "-m", "services.cli.tethered", "1", "this"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.PIPE, capture_output=True, check=False)
    assert done.returncode == 1
