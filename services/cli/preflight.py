"""What is checked before the first process is started: the data folder, the ports, the model files."""

import errno
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from services.cli.doors import Door
from shared.errors import StorageUnavailable, WrongState
from shared.models.manifest import load_manifest


def check_home(home: Path) -> None:
    """Raises `StorageUnavailable` when the data folder cannot be made or written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise StorageUnavailable(
            f"The data folder {home} cannot be written: {error.strerror}.",
            remedy="Mend its permissions, or set WAYSTATION_HOME to another folder.",
            path=home,
        ) from None


def check_ports(doors: Sequence[Door]) -> None:
    """Raises `WrongState` for the first port that somebody else has, and names them."""
    for door in doors:
        if door.port and is_taken(door.host, door.port):
            who = port_holder(door.port)
            raise WrongState(
                f"Port {door.port}, the {door.service} service's, is taken{f' by {who}' if who else ''}.",
                remedy=f"Stop that process, or set {door.setting} to another port.",
                port=door.port,
                setting=door.setting,
            )


def is_taken(host: str, port: int) -> bool:
    """Whether the port cannot be bound."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno in (errno.EADDRINUSE, errno.EACCES)
    return False


def port_holder(port: int) -> str:
    """The process that listens at the port, as people know it; empty when the system does not say."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return ""
                command = " ".join(psutil.Process(connection.pid).cmdline())[:80]
                return f"process {connection.pid} ({command})"
    except psutil.Error:
        return ""
    return ""


def missing_chat_models(home: Path) -> list[str]:
    """The chat models of the manifest whose files are not there in full."""
    missing = []
    for model in load_manifest():
        path = home / "models" / model.file
        if not model.is_bundled and not (path.is_file() and path.stat().st_size == model.size):
            missing.append(model.name)
    return missing


def forget_ready_files(home: Path) -> None:
    """Remove what processes that were killed said of themselves. Only for the holder of the lock."""
    for path in (home / "run").glob("*.json"):
        path.unlink(missing_ok=True)
