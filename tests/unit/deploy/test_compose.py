"""The compose file and the image: read as an engine would, since none may be here to ask."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import DEFAULT_DOORS

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
ONE_SHOT = {"pull"}
NODE = {"ui"}
"""Has an image of its own: all others are of the one for Python."""
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_door = pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT - NODE))


def test_every_process_of_the_mesh_is_there_and_what_runs_exists() -> None:
    assert SERVICES.keys() - ONE_SHOT - NODE == DEFAULT_DOORS.keys()
    for service in (SERVICES[name] for name in SERVICES.keys() - NODE):
        assert (ROOT / service["command"][0].replace(".", "/") / "__init__.py").exists()


def test_it_stays_in_what_both_generations_of_compose_read() -> None:
    assert {key for key in DOCUMENT if not key.startswith("x-")} == {"services", "volumes"}
    text = (ROOT / "docker-compose.yaml").read_text()
    assert not re.search(r"\b(include|start_interval|develop|pids)\b *:", text)


@each_service
def test_processor_and_memory_are_limited(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"[1-9]\d*[MG]", limits["memory"])


@each_service
def test_no_container_has_more_rights_than_the_image_gives(service: dict[str, Any]) -> None:
    assert not {"user", "privileged", "cap_add", "network_mode", "pid"} & service.keys()
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@each_service
def test_doors_are_published_on_loopback_only(service: dict[str, Any]) -> None:
    for port in service.get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{WAYSTATION_[A-Z_]+:-(\d+)\}:\1", port)


@each_door
def test_each_door_is_published_probed_and_advertised_under_its_own_port(name: str) -> None:
    service, port = SERVICES[name], DEFAULT_DOORS[name]
    assert f"127.0.0.1:${{WAYSTATION_{name.upper()}_PORT:-{port}}}:{port}" in service["ports"]
    assert service["healthcheck"]["test"][:4] == ["CMD", "python", "-m", "shared.rpc.probe"]
    assert f"127.0.0.1:{port}" in service["healthcheck"]["test"][4]
    environment = service["environment"]
    assert environment["WAYSTATION_ADVERTISE_HOST"] == name
    assert environment["WAYSTATION_CONTROL_ADDRESS"] == f"control:{DEFAULT_DOORS['control']}"


def test_the_image_runs_as_an_ordinary_user_and_builds_without_buildkit() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", final, re.M) == ["waystation"]
    assert "\nHEALTHCHECK " in final
    assert "# syntax=" not in text and "RUN --mount" not in text
    assert "-DGGML_NATIVE=OFF" in text


def test_what_the_image_copies_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.M)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_dashboard_is_there_and_may_ask_the_control_plane() -> None:
    ui, control = SERVICES["ui"], SERVICES["control"]
    assert ui["ports"] == ["127.0.0.1:${WAYSTATION_UI_PORT:-3000}:3000"]
    assert ui["environment"]["WAYSTATION_CONTROL_URL"] == "http://control:7480"
    assert control["environment"]["WAYSTATION_CONTROL_ALLOWED_HOSTS"] == "control"
    folder = ROOT / ui["build"]["context"]
    text = (folder / ui["build"]["dockerfile"]).read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\S+)$", final, re.M) == ["node"]
    assert "\nHEALTHCHECK " in final
    assert "RUN --mount" not in text
    for names in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M):
        assert all((folder / name).exists() for name in names.split())
