"""The brake and its log at the terminal."""

import getpass
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from shared.errors import WrongState
from shared.pb import agent_v1
from tests.fakes.agent_service import abort, serving
from tests.unit.services.cli.conftest import Waystation

WHY = ("--reason", "it looks wrong")


@dataclass
class FakeGuardian(agent_v1.GuardianServiceServicer):
    """Remembers what it was asked; its log is as whole as `broken` says."""

    requests: list[Any] = field(default_factory=list)
    broken: int = 0
    is_late: bool = False

    def Intervene(
        self, request: agent_v1.InterveneRequest, context: grpc.ServicerContext
    ) -> agent_v1.InterveneResponse:
        self.requests.append(request)
        if self.is_late:
            abort(context, WrongState("Run run-1 is succeeded."))
        act = agent_v1.Intervention(entry=7, run_id=request.run_id, action="pause", outcome="open")
        return agent_v1.InterveneResponse(intervention=act, run=agent_v1.Run(state=agent_v1.Run.STATE_RUNNING))

    def ListInterventions(
        self, request: agent_v1.ListInterventionsRequest, context: grpc.ServicerContext
    ) -> agent_v1.ListInterventionsResponse:
        self.requests.append(request)
        act = agent_v1.Intervention(entry=7, run_id="run-1", actor="[b]anna", action="skip_step", outcome="applied")
        act.after.update({"step": "call_capability"})
        return agent_v1.ListInterventionsResponse(interventions=[act] if not request.run_id else [])

    def VerifyAudit(
        self, request: agent_v1.VerifyAuditRequest, context: grpc.ServicerContext
    ) -> agent_v1.VerifyAuditResponse:
        return agent_v1.VerifyAuditResponse(
            is_intact=not self.broken, entry_count=9, first_broken_entry=self.broken, head_sha256="ab" * 32
        )


@pytest.fixture
def guardian(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGuardian]:
    fake = FakeGuardian()
    with serving(agent_v1.add_GuardianServiceServicer_to_server, fake) as address:
        monkeypatch.setenv("WAYSTATION_AGENT_ADDRESS", address)
        yield fake


def test_the_actor_is_the_user_of_the_system_unless_another_is_named(
    waystation: Waystation, guardian: FakeGuardian
) -> None:
    said = waystation("guardian", "pause", "run-1", *WHY).stdout
    assert said == "Entry 7: pause takes effect at the run's next step; run run-1 is running.\n"
    waystation("guardian", "pause", "run-1", *WHY, "--actor", "anna", "--request-id", "r1")
    first, second = guardian.requests
    assert (first.actor, first.reason, first.WhichOneof("action")) == (getpass.getuser(), "it looks wrong", "pause")
    assert first.request_id and (second.actor, second.request_id) == ("anna", "r1")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (
            ("--set", "query=why not?", "--set", "remaining_hops=1"),
            {"state": {"query": "why not?", "remaining_hops": 1}},
        ),
        (("--force", "rag"), {"force_capability": "rag"}),
        (("--veto", "rag"), {"veto_capability": "rag"}),
        (("--skip", "call_capability"), {"skip_step": "call_capability"}),
        (("--hops", "0"), {"remaining_hops": 0}),
    ],
)
def test_an_override_says_one_change(
    waystation: Waystation, guardian: FakeGuardian, words: tuple[str, ...], change: dict[str, Any]
) -> None:
    document = json.loads(waystation("guardian", "override", "run-1", *WHY, *words, "--json").stdout)
    assert document["intervention"]["entry"] == "7"
    [request] = guardian.requests
    [(name, value)] = change.items()
    assert request.override.WhichOneof("change") == name
    asked = getattr(request.override, name)
    assert (dict(asked) if name == "state" else asked) == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "run-1"), "--reason"),
        (("override", "run-1", *WHY), "Say one of"),
        (("override", "run-1", *WHY, "--force", "rag", "--veto", "rag"), "Say one of"),
        (("override", "run-1", *WHY, "--hops", "-1"), "greater than or"),
        (("override", "run-1", *WHY, "--set", "query"), "not FIELD=VALUE"),
    ],
)
def test_bad_words_reach_no_guardian(
    waystation: Waystation, guardian: FakeGuardian, words: tuple[str, ...], said: str
) -> None:
    result = waystation("guardian", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert guardian.requests == []


def test_a_refusal_is_said_and_fails(waystation: Waystation, guardian: FakeGuardian) -> None:
    guardian.is_late = True
    result = waystation("guardian", "cancel", "run-1", *WHY)
    assert result.exit_code == 1
    assert "is succeeded" in result.stderr


def test_the_log_is_listed_as_it_is_written(waystation: Waystation, guardian: FakeGuardian) -> None:
    output = waystation("guardian", "log").stdout
    assert "[b]anna" in output and "applied" in output
    assert json.loads(waystation("guardian", "log", "--json").stdout)["interventions"][0]["action"] == "skip_step"
    assert waystation("guardian", "log", "run-2").stdout == ""


def test_a_broken_log_is_an_exit_code(waystation: Waystation, guardian: FakeGuardian) -> None:
    whole = waystation("audit", "verify")
    assert (whole.exit_code, whole.stdout[:9]) == (0, "9 entries")
    guardian.broken = 4
    broken = waystation("audit", "verify")
    assert broken.exit_code == 1 and "Entry 4" in broken.stderr
    assert waystation("audit", "verify", "--json").exit_code == 1
