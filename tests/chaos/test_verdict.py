"""The judge finds what it is there to find."""

from collections.abc import Iterable, Sequence

import pytest

from shared.pb import agent_v1, common_v1
from tests.chaos.counting import Effect, answer_to
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
