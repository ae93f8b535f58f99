"""The judge finds what it is there to find."""

from collections.abc import Iterable, Sequence

import pytest

from shared.pb import agent_v1, common_v1
from tests.chaos.counting import POSTED, Effect, Letter, answer_to
from tests.chaos.load import Tracked
from tests.chaos.processes import STORY
from tests.chaos.verdict import Evidence, Verdict, judge

QUERY = "count inside, item 1"
EFFECT = Effect("key", "run-1", 0)
RUNNING = agent_v1.RunStateChanged(run=agent_v1.Run(state=agent_v1.Run.STATE_RUNNING))
HOP = agent_v1.HopEnded(hop_index=0, capability="tally", outcome="answered")


def ended(state: agent_v1.Run.State.ValueType, answer: str = "", reason: str = "") -> agent_v1.RunStateChanged:
    run = agent_v1.Run(state=state, answer=answer)
    if reason:
        run.error.reason = common_v1.ErrorReason.Value(f"ERROR_REASON_{reason}")
    return agent_v1.RunStateChanged(run=run)


def failed_hop(reason: str) -> agent_v1.HopEnded:
    error = agent_v1.RunError(reason=common_v1.ErrorReason.Value(f"ERROR_REASON_{reason}"))
    return agent_v1.HopEnded(hop_index=0, capability="tally", error=error)


def text(written: str, attempt: int) -> agent_v1.TextProduced:
    return agent_v1.TextProduced(text=written, step="respond", hop_index=-1, attempt=attempt)


def numbered(*payloads: object) -> list[agent_v1.RunEvent]:
    fields = {
        agent_v1.RunStateChanged: "state_changed",
        agent_v1.HopEnded: "hop_ended",
        agent_v1.TextProduced: "text_produced",
    }
    return [
        agent_v1.RunEvent(sequence=number, **{fields[type(payload)]: payload})  # type: ignore[arg-type]
        for number, payload in enumerate(payloads, 1)
    ]


def judged(
    events: Sequence[agent_v1.RunEvent],
    effects: Iterable[Effect] = (EFFECT,),
    *,
    stored: Sequence[agent_v1.RunEvent] | None = None,
    kind: str = "inside",
    is_service_killed: bool = False,
) -> Verdict:
    tracked = Tracked("run-1", kind, QUERY, list(events))
    evidence = Evidence(tracked, events if stored is None else stored, list(effects))
    return judge([evidence], is_service_killed=is_service_killed)


GOOD = numbered(RUNNING, HOP, ended(agent_v1.Run.STATE_SUCCEEDED, answer_to(QUERY)))


def test_a_run_that_went_well_is_clean() -> None:
    verdict = judged(GOOD)
    assert verdict.is_clean
    assert verdict.findings == []


def test_a_second_effect_of_a_hop_is_a_duplicate_under_the_same_key_and_under_another() -> None:
    assert judged(GOOD, [EFFECT, EFFECT]).duplicated == 1
    assert judged(GOOD, [EFFECT, Effect("other key", "run-1", 0)]).duplicated == 1


def test_an_answer_without_its_effect_is_a_loss() -> None:
    assert judged(GOOD, []).effects_lost == 1


def test_an_effect_whose_hop_says_that_it_failed_is_a_loss_unless_it_says_that_it_does_not_know() -> None:
    end = ended(agent_v1.Run.STATE_SUCCEEDED, "Something did not work.")
    broken_off = numbered(RUNNING, failed_hop("PEER_UNAVAILABLE"), end)
    assert judged(broken_off, is_service_killed=True).effects_lost == 1
    assert judged(broken_off, [], is_service_killed=True).is_clean
    doubt = judged(numbered(RUNNING, failed_hop("IN_DOUBT"), end))
    assert (doubt.effects_lost, doubt.asked) == (0, 1)


def test_a_run_that_waits_for_a_person_asks_and_is_not_lost() -> None:
    verdict = judged(numbered(RUNNING, ended(agent_v1.Run.STATE_INPUT_REQUIRED)))
    assert (verdict.asked, verdict.runs_lost) == (1, 0)


@pytest.mark.parametrize(
    "events",
    [
        [],
        numbered(RUNNING),
        numbered(RUNNING, ended(agent_v1.Run.STATE_FAILED, reason="CRASH_LOOP")),
        numbered(RUNNING, HOP, ended(agent_v1.Run.STATE_SUCCEEDED, "")),
        numbered(RUNNING, failed_hop("PEER_UNAVAILABLE"), ended(agent_v1.Run.STATE_SUCCEEDED, "Sorry.")),
    ],
    ids=["nothing", "never ends", "fails", "answers nothing", "excuses itself with a service that lives"],
)
def test_a_run_that_ends_as_no_run_may_is_lost(events: list[agent_v1.RunEvent]) -> None:
    assert judged(events, []).runs_lost == 1


def test_a_failure_is_excused_only_by_the_death_of_a_service() -> None:
    events = numbered(RUNNING, ended(agent_v1.Run.STATE_FAILED, reason="MODEL_UNAVAILABLE"))
    assert judged(events, [], is_service_killed=True).failed == 1
    assert judged(events, []).runs_lost == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ([GOOD[0], GOOD[2]], GOOD),
        ([GOOD[0], GOOD[0], *GOOD[1:]], GOOD),
        (GOOD, GOOD[:2]),
        (GOOD, [*GOOD, agent_v1.RunEvent(sequence=4, state_changed=GOOD[2].state_changed)]),
        (GOOD, [GOOD[0], agent_v1.RunEvent(sequence=2, hop_ended=failed_hop("INTERNAL")), GOOD[2]]),
    ],
    ids=["a gap", "twice", "sent, not stored", "two ends", "changed"],
)
def test_events_that_are_not_as_they_were_sent_are_found(
    sent: list[agent_v1.RunEvent], stored: list[agent_v1.RunEvent]
) -> None:
    assert judged(sent, stored=stored).broken == 1


@pytest.mark.parametrize(
    ("texts", "broken"),
    [
        ([text(STORY, 1)], 0),
        ([text(STORY[:20], 1), text(STORY, 2)], 0),
        ([text(STORY[:20], 1), text(STORY, 1)], 1),
        ([text(STORY, 1), text(STORY[:20], 2)], 1),
    ],
    ids=["once", "replaced", "doubled", "cut off"],
)
def test_text_is_replaced_by_a_later_attempt_and_never_doubled(texts: list[agent_v1.TextProduced], broken: int) -> None:
    events = numbered(RUNNING, *texts, ended(agent_v1.Run.STATE_SUCCEEDED, STORY))
    assert judged(events, [], kind="story").broken == broken


POSTING = numbered(
    RUNNING,
    HOP,
    agent_v1.HopEnded(hop_index=1, capability="post", outcome="answered"),
    ended(agent_v1.Run.STATE_SUCCEEDED, POSTED),
)
APPLIED = (Letter("run-1", "hop-0"), Letter("run-1", "hop-1"), Letter("run-1", "outside-0"))


def mailbox(**states: int) -> list[common_v1.A2aMessage]:
    acknowledged = common_v1.A2aMessage.STATE_ACKNOWLEDGED
    found = {"hop-0": acknowledged, "hop-1": acknowledged, "outside-0": acknowledged}
    found |= {name.replace("_", "-"): state for name, state in states.items()}
    return [
        common_v1.A2aMessage(message_id=name, hop_index=0 if name.startswith("hop") else -1, state=state)  # type: ignore[arg-type]
        for name, state in found.items()
        if state
    ]


def judged_mail(letters: Iterable[Letter], messages: Sequence[common_v1.A2aMessage]) -> Verdict:
    tracked = Tracked("run-1", "letters", "write letters, item 1", list(POSTING), ["outside-0"])
    evidence = Evidence(tracked, POSTING, [EFFECT], list(letters), messages)
    return judge([evidence], is_service_killed=False)


def test_messages_that_were_applied_once_each_are_clean() -> None:
    verdict = judged_mail(APPLIED, mailbox())
    assert verdict.is_clean, verdict.findings
    assert verdict.messages == 3


def test_a_message_that_came_too_late_is_a_dead_letter_and_not_lost() -> None:
    late = mailbox(outside_0=common_v1.A2aMessage.STATE_DEAD_LETTERED)
    assert judged_mail(APPLIED[:2], late).is_clean
    assert judged_mail(APPLIED, late).messages_lost == 1


def test_a_message_that_was_applied_twice_is_found() -> None:
    assert judged_mail([*APPLIED, APPLIED[0]], mailbox()).applied_twice == 1


@pytest.mark.parametrize(
    ("letters", "messages"),
    [
        (APPLIED[:2], mailbox()),
        (APPLIED[:2], mailbox(outside_0=0)),
        (APPLIED[1:], mailbox(hop_0=0)),
        (APPLIED[1:], mailbox(hop_0=common_v1.A2aMessage.STATE_DEAD_LETTERED)),
        (APPLIED[1:], mailbox(hop_0=common_v1.A2aMessage.STATE_DELIVERED)),
    ],
    ids=["not applied", "acknowledged, not stored", "never stored", "dead though its reader came", "only delivered"],
)
def test_a_message_that_is_lost_is_found(letters: Sequence[Letter], messages: list[common_v1.A2aMessage]) -> None:
    assert judged_mail(letters, messages).messages_lost >= 1
