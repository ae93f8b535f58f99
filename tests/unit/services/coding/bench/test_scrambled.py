"""The control of the bench: findings of another task in the reviewer's place."""

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.coding.bench.scrambled import WORKFLOW, scrambled_workflow
from services.coding.bench.scrambler import Scrambler, ScramblerSettings
from services.coding.capability import CodingCapability, describe_coding
from services.coding.coder import Coder
from services.coding.review_hop import ReviewHop
from services.coding.reviewer import Reviewer
from services.coding.sandbox.sandbox import Sandbox
from shared.call_context import CallContext
from shared.capability import Artifact, Invocation, OutgoingMessage, Output, Result
from shared.capability.servicer import CapabilityServicer
from shared.errors import InternalError, InvalidInput
from shared.pb import capability_v1
from shared.rpc.server import RpcServer
from tests.fakes.chat import ScriptedChatModel

OTHER = {"kind": "review", "is_approved": False, "summary": "Of another.", "findings": [{"message": "not mine"}]}
APPROVAL = json.dumps({"calls": [], "findings": [], "is_approved": True, "summary": "Fine."})


async def scrambled(sandbox: Sandbox, code: str, findings: Path) -> list[Output]:
    """What the scrambler makes of a review by a real coding service."""
    models: Any = {"medium": ScriptedChatModel([APPROVAL])}
    capability = CodingCapability(describe_coding(), Coder(sandbox, 800), ReviewHop(Reviewer(sandbox)), models)

    def add(server: grpc.aio.Server) -> None:
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(capability), server)

    async with RpcServer("127.0.0.1", 0, add, ()) as server:
        scrambler = Scrambler(ScramblerSettings(coding_address=server.address, findings=findings))
        invocation = Invocation("Print 4.", "reviewer", context=(Artifact("c", "code", "main.py", "text/plain", code),))
        return [output async for output in scrambler.invoke(invocation, CallContext())]


async def test_a_refusal_stays_one_with_the_findings_of_another_task(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps(OTHER))
    outputs = await scrambled(sandbox, "1/0", tmp_path / "f.json")
    (sent,) = [item for item in outputs if isinstance(item, OutgoingMessage)]
    assert sent.payload == OTHER
    (verdict,) = [item for item in outputs if isinstance(item, Artifact) and item.kind == "verdict"]
    assert json.loads(verdict.text) == {"is_approved": False, "summary": "Of another.", "findings": OTHER["findings"]}
    assert outputs[-1] == Result("")
    assert "ZeroDivisionError" not in "".join(map(str, (sent, verdict, outputs[-2])))


async def test_an_approval_stays_as_it_is(sandbox: Sandbox, tmp_path: Path) -> None:
    outputs = await scrambled(sandbox, "print(4)", tmp_path / "none.json")
    (verdict,) = [item for item in outputs if isinstance(item, Artifact) and item.kind == "verdict"]
    assert json.loads(verdict.text)["is_approved"]


async def test_without_findings_of_another_task_there_is_no_control(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no review"):
        await scrambled(sandbox, "1/0", tmp_path / "none.json")


def test_the_control_differs_from_review_in_name_and_reviewer_only() -> None:
    shipped = (
        "# About it\nname: review\nmax_hops: 5\nsteps:\n  - name: review\n    capability: coding\n    role: reviewer\n"
    )
    assert scrambled_workflow(shipped) == shipped.replace(
        "name: review\nmax_hops: 5", f"name: {WORKFLOW}\nmax_hops: 7"
    ).replace("capability: coding", "capability: scrambler")
    for other in ("", "name: review\n", shipped.replace("coding", "coder")):
        with pytest.raises(InternalError):
            scrambled_workflow(other)
