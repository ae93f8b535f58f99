"""Reads the control plane's HTTP API; its errors and silences become typed errors."""

import os
from typing import Any

import httpx

from services.cli.doors import address_of, door_settings
from shared.errors import PeerProtocol, PeerUnavailable, error_from_reason

TIMEOUT_S = 30.0


def control_url() -> str:
    """Where the HTTP API is, without a slash at its end."""
    host = address_of("control", os.environ).rpartition(":")[0]
    return f"http://{host}:{door_settings('control', os.environ).http_port}"


def get_json(client: httpx.Client, path: str, **query: str | int) -> Any:
    """The document at a path. Raises what the API says, `PeerUnavailable` or `PeerProtocol`."""
    url = control_url()
    try:
        response = client.get(f"{url}{path}", params=query, timeout=TIMEOUT_S)
        document = response.json()
    except httpx.HTTPError as error:
        raise PeerUnavailable(
            f"The control plane does not answer at {url} ({error or type(error).__name__}).",
            remedy="Start the mesh with `waystation up`, or see why it is down with `waystation doctor`.",
            peer="control",
        ) from error
    except ValueError as error:
        raise PeerProtocol(f"{url}{path} is no JSON.", remedy="Is another program at that port?") from error
    if response.is_success:
        return document
    if isinstance(document, dict) and "reason" in document:
        told = {**document.get("metadata", {}), "remedy": document.get("remedy", "")}
        raise error_from_reason(document["reason"], document.get("message", ""), told)
    raise PeerProtocol(f"{url}{path} answered {response.status_code}.", peer="control")


def open_client() -> httpx.Client:
    """A client that no proxy of the environment stands before."""
    return httpx.Client(trust_env=False)
