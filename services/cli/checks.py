"""What `waystation doctor` looks at: each check says how the thing is and how to mend it."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from services.cli.doors import Door, door_settings, doors_of, is_local_models, ready_record
from services.cli.preflight import check_home, is_taken, port_holder
from services.cli.up_lock import holder
from shared.errors import WaystationError
from shared.models.manifest import DATA, ModelEntry, load_manifest
from shared.settings import DEFAULT_DOORS
from shared.storage.journal import Journal

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20
OLDEST_SQLITE = (3, 51, 3)
NEEDED_DISK_BYTES = 3_000_000_000
TIMEOUT_S = 10.0


class Verdict(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    """Something works less well."""
    BAD = "bad"
    """Something needed is missing."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def all_checks(environ: Mapping[str, str]) -> list[Check]:
    """Look at everything. Raises `InvalidInput` when a setting is malformed."""
    home = door_settings("agent", environ).home.absolute()
    checks = [check_python(), check_compiler(), check_sqlite(), check_node(), check_data_folder(home), check_disk(home)]
    checks += check_ports(home, environ)
    checks += check_models(home, environ)
    checks.append(check_store(home))
    checks.append(check_sandbox())
    return checks


def check_python() -> Check:
    """The interpreter's version."""
    found = platform.python_version()
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Check("Python", Verdict.OK, found)
    return Check("Python", Verdict.BAD, found, "Install Python 3.11 or newer, then `make install`.")


def check_compiler() -> Check:
    """A C++ compiler, which builds llama-cpp-python."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return Check("C++ compiler", Verdict.OK, path)
    if _can_import("llama_cpp"):
        return Check("C++ compiler", Verdict.WARNING, "none, but llama-cpp-python is built already")
    remedy = "On Debian or Ubuntu: apt install build-essential cmake; on macOS: xcode-select --install."
    return Check("C++ compiler", Verdict.BAD, "none", remedy)


def check_sqlite() -> Check:
    """The SQLite that the stores use."""
    try:
        import apsw
    except ImportError as error:
        return Check("SQLite", Verdict.BAD, f"apsw cannot be imported: {error}", "Run `make install`.")
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")) >= OLDEST_SQLITE:
        return Check("SQLite", Verdict.OK, f"{version} (apsw)")
    wanted = ".".join(map(str, OLDEST_SQLITE))
    return Check(
        "SQLite", Verdict.BAD, version, f"Older ones can lose commits; `make install` brings {wanted} or newer."
    )


def check_node() -> Check:
    """Node.js, which the dashboard needs."""
    remedy = f"The dashboard needs Node.js {OLDEST_NODE} or newer; everything else works without it."
    version = _output("node", "--version").removeprefix("v")
    if not version:
        return Check("Node.js", Verdict.WARNING, "none", remedy)
    major = version.split(".")[0]
    is_new = major.isdigit() and int(major) >= OLDEST_NODE
    return Check("Node.js", Verdict.OK if is_new else Verdict.WARNING, version, "" if is_new else remedy)


def check_data_folder(home: Path) -> Check:
    """Whether the data folder can be written."""
    try:
        check_home(home)
    except WaystationError as error:
        return Check("data folder", Verdict.BAD, error.message, error.remedy)
    return Check("data folder", Verdict.OK, str(home))


def check_disk(home: Path) -> Check:
    """Room for model files and stores."""
    folder = next((path for path in (home, *home.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free"
    if free >= NEEDED_DISK_BYTES:
        return Check("disk", Verdict.OK, found)
    wanted = f"{NEEDED_DISK_BYTES / 1e9:.0f} GB are wanted for models and stores"
    return Check("disk", Verdict.WARNING, found, f"{wanted}: make room, or set WAYSTATION_HOME to another disk.")


def check_ports(home: Path, environ: Mapping[str, str]) -> list[Check]:
    """Each port is free, or held by our own process."""
    supervisor = holder(home)
    doors = [door for service in DEFAULT_DOORS for door in doors_of(service, environ)]
    return [_check_port(home, door, supervisor) for door in doors]


def _check_port(home: Path, door: Door, supervisor: int) -> Check:
    name = f"port {door.port}"
    if not door.port or not is_taken(door.host, door.port):
        return Check(name, Verdict.OK, f"free, for {door.service}")
    if supervisor and ready_record(home, door.service):
        return Check(name, Verdict.OK, f"{door.service} is up (supervisor {supervisor})")
    who = port_holder(door.port) or "another process"
    remedy = f"Stop that process, or set {door.setting} to another port."
    return Check(name, Verdict.BAD, f"taken by {who}, wanted by {door.service}", remedy)


def check_models(home: Path, environ: Mapping[str, str]) -> list[Check]:
    """The model files and their sums; chat models count only when they are served from here."""
    is_local = is_local_models(environ)
    checks = [_check_model(home, model) for model in load_manifest() if model.is_bundled or is_local]
    if not is_local:
        checks.append(Check("chat models", Verdict.OK, f"at {door_settings('agent', environ).model_url}"))
    return checks


def _check_model(home: Path, model: ModelEntry) -> Check:
    path = (DATA if model.is_bundled else home / "models") / model.file
    name = f"model {model.name}"
    if not path.is_file():
        # without a chat model routing and retrieval still work
        verdict = Verdict.BAD if model.is_bundled else Verdict.WARNING
        remedy = "Reinstall Waystation." if model.is_bundled else f"waystation models pull {model.name}"
        return Check(name, verdict, "no file", remedy)
    if _sha256(path) != model.sha256:
        remedy = "Reinstall Waystation." if model.is_bundled else f"waystation models pull {model.name}"
        return Check(name, Verdict.BAD, f"{path} has a wrong sum", remedy)
    return Check(name, Verdict.OK, f"{model.size / 1e6:,.0f} MB, sum right")


def check_store(home: Path) -> Check:
    """What last happened to the agent's store: its backups, and whether it had to be repaired."""
    journal = Journal(home / "agent" / "backups" / "journal.jsonl")
    entries = journal.entries()
    if not entries:
        return Check("agent store", Verdict.OK, "nothing noted; no backup yet")
    newest = entries[-1]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(newest.time_ns / 1e9))
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(journal.counts().items()))
    found = f"{when}: {newest.message} ({counts})"
    if newest.kind in ("backup", "accepted"):
        return Check("agent store", Verdict.OK, found)
    return Check("agent store", Verdict.WARNING, found, "`waystation backup list` has the details.")


def check_sandbox() -> Check:
    """Whether the kernel can confine model-written code."""
    remedy = "Model-written code is confined by Landlock and seccomp, on Linux 5.13 or newer; without it none is run."
    if sys.platform != "linux":
        return Check("sandbox", Verdict.WARNING, platform.system(), remedy)
    try:
        active = Path("/sys/kernel/security/lsm").read_text().split(",")
    except OSError:
        active = []
    has_filters = Path("/proc/sys/kernel/seccomp/actions_avail").exists()
    has_landlock = "landlock" in active or (not active and _kernel() >= (5, 13))
    if has_filters and has_landlock:
        return Check("sandbox", Verdict.OK, f"Landlock and seccomp, Linux {platform.release()}")
    return Check("sandbox", Verdict.WARNING, f"Linux {platform.release()}", remedy)


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _can_import(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
