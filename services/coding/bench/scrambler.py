"""A reviewer whose findings are another task's: the control that shows whether the coder gains from what they say."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from services.coding.inbox import REVIEW
from shared.call_context import CallContext
from shared.capability import Artifact, Descriptor, Invocation, OutgoingMessage, Output, Result, TextDelta, serve
from shared.capability.wire import EFFORTS, artifact_to_proto, output_from_proto
from shared.errors import InvalidInput
from shared.pb import capability_v1, common_v1
from shared.rpc.channel import open_channel
from shared.rpc.status import peer_errors
from shared.settings import Settings

NAME = "scrambler"
TIMEOUT_S = 300.0


class ScramblerSettings(Settings):
    """Whom to ask, and what to say instead."""

    section: ClassVar[str] = NAME

    coding_address: str = ""
    """The coding service."""
    findings: Path = Path()
    """JSON: the payload of a review of another task."""


class Scrambler:
    """Asks the coding service for a review, and swaps its findings; whether it approves stays."""

    descriptor = Descriptor(
        NAME, "Swaps findings, for a measurement.", (NAME,), roles=("reviewer",), is_idempotent=True
    )

    def __init__(self, settings: ScramblerSettings) -> None:
        self._settings = settings

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """See `Capability.invoke`."""
        request = capability_v1.InvokeRequest(
            ids=common_v1.CallIds(run_id=invocation.run_id, hop_index=invocation.hop_index),
            role="reviewer",
            task=invocation.task,
            context=[artifact_to_proto(artifact) for artifact in invocation.context],
            effort=EFFORTS[invocation.effort],
        )
        async with open_channel(self._settings.coding_address) as channel:
            with peer_errors("coding"):
                reply = capability_v1.CapabilityServiceStub(channel).Invoke(request, timeout=call.timeout_s(TIMEOUT_S))
                async with aclosing(cast(Any, _outputs(reply))) as outputs:
                    async for output in outputs:
                        yield self._swapped(output)

    def _swapped(self, output: Output) -> Output:
        if isinstance(output, TextDelta | Result):
            return replace(output, text="")  # it repeats the findings, and would reach the coder as earlier work
        if isinstance(output, OutgoingMessage):
            return replace(output, payload={"kind": REVIEW, "is_approved": False, **self._others()})
        if isinstance(output, Artifact) and output.kind == "verdict":
            verdict = json.loads(output.text)
            return output if verdict["is_approved"] else replace(output, text=json.dumps({**verdict, **self._others()}))
        return output

    def _others(self) -> dict[str, Any]:
        try:
            other = json.loads(self._settings.findings.read_text())
            return {"summary": other["summary"], "findings": other["findings"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"{self._settings.findings} holds no review: {error}.", field="findings") from error


async def _outputs(reply: Any) -> AsyncIterator[Output]:
    async for message in reply:
        output = output_from_proto(message)
        if output is not None:
            yield output


if __name__ == "__main__":
    serve(Scrambler(ScramblerSettings.load(os.environ)), settings_class=ScramblerSettings)
