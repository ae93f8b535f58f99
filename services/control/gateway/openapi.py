"""The OpenAPI document without a server: `python -m services.control.gateway.openapi > openapi.json`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from services.control.__main__ import Control
from services.control.clock import Clock
from services.control.gateway.api_page import describe
from services.control.gateway.app import build_api
from services.control.gateway.stream_views import STREAMS
from services.control.registry.peer_probe import PeerProbe
from services.control.settings import ControlSettings


async def document() -> dict[str, Any]:
    """The document that a server of this version has at `/openapi.json`."""
    # the control plane's parts are built and not opened: no file, no port, no connection
    control = Control(ControlSettings(home=Path()), Clock(), PeerProbe())
    return describe(build_api(control.gateway), STREAMS)


if __name__ == "__main__":
    json.dump(asyncio.run(document()), sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")
