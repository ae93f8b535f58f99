"""A capability that fails with secrets in its words, run as a process: `python -m tests.fakes.leaky_service`."""

import logging
import os
from collections.abc import AsyncIterator

from shared.call_context import CallContext
from shared.capability import Descriptor, Invocation, Output, TextDelta, serve

logger = logging.getLogger("services.leaky")


class Leaky:
    """Says what no service should."""

    descriptor = Descriptor("leaky", "Explodes on request.", ("explode",), ("please explode", "explode now"))

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """Log, and raise, a password and the value of a secret setting."""
        yield TextDelta("About to ")
        key = os.environ["WAYSTATION_MODEL_API_KEY"]
        logger.warning("asking with the key %s", key)
        raise RuntimeError(f"password={os.environ['CANARY']} was refused, and so was {key}")


if __name__ == "__main__":
    serve(Leaky())
