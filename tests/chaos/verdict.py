"""What became of the runs: judged from their stored events and from the witness, never from the agent's word alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.agent.mailbox.rows import DONE_AGAIN
from shared.pb import agent_v1, common_v1
from tests.chaos.counting import LETTERS_OF_A_HOP, POSTED, Effect, Letter, answer_to
from tests.chaos.load import Tracked
from tests.chaos.processes import STORY

WITNESSED = ("tally", "outside")
EXCUSED = ("PEER_UNAVAILABLE", "MODEL_UNAVAILABLE", "DRAINING", "DEADLINE")
"""What a run or hop may fail with while the service that it needs is dead."""


WITHOUT = "answered without the service"
HOPS = ("inside", "outside", "code", "fact", "sum", "letters")
"""The kinds of runs that need a hop."""


@dataclass
class Verdict:
    """What became of some runs."""

    runs: int = 0
    resumed: int = 0
    """Runs that were taken up again at least once."""
    asked: int = 0
    """Runs that say that an effect is in doubt."""
    failed: int = 0
    """Runs, or hops of theirs, that failed for an excusable reason and say so."""
    duplicated: int = 0
    """Effects beyond the first of a hop."""
    effects_lost: int = 0
    """Hops that claim an effect that is not there, or an effect whose hop says that it failed."""
    runs_lost: int = 0
    """Acknowledged runs that have not ended, or ended as nobody may."""
    messages: int = 0
    """Messages that were sent and could be delivered."""
    applied_twice: int = 0
    """Applications of a message beyond its first."""
    messages_lost: int = 0
    """Messages that are neither applied nor dead letters, or are applied although the mailbox says otherwise."""
    broken: int = 0
    """Runs whose events have gaps, repetitions, doubled text, or differ from what was sent."""
    reasons: list[str] = field(default_factory=list)
    """Why runs or hops failed that may."""
    findings: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or broken."""
        mail = self.applied_twice or self.messages_lost
        return not (self.duplicated or self.effects_lost or self.runs_lost or self.broken or mail)


@dataclass(frozen=True)
class Evidence:
    """All that is known of one run."""

    tracked: Tracked
    stored: Sequence[agent_v1.RunEvent]
    effects: Sequence[Effect]
    letters: Sequence[Letter] = ()
    """Messages that the run's hops have applied."""
    messages: Sequence[common_v1.A2aMessage] = ()
    """The run's mailbox."""

    @property
    def hops(self) -> Mapping[int, agent_v1.HopEnded]:
        """The newest end of each hop."""
        return {event.hop_ended.hop_index: event.hop_ended for event in self.stored if event.HasField("hop_ended")}

    @property
    def reasons(self) -> list[str]:
        """Why the run, or a hop of it, failed."""
        errors = [hop.error for hop in self.hops.values() if hop.HasField("error")]
        run = self.tracked.run
        if run and run.state == agent_v1.Run.STATE_FAILED:
            errors.append(run.error)
        return [common_v1.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_") for error in errors]


def judge(everything: Iterable[Evidence], *, is_service_killed: bool) -> Verdict:
    """Judge runs. Unless a service was killed that they call, nothing may fail."""
    verdict = Verdict()
    for evidence in everything:
        verdict.runs += 1
        _judge_end(evidence, verdict, EXCUSED if is_service_killed else ())
        _judge_effects(evidence, verdict)
        _judge_messages(evidence, verdict)
        _judge_events(evidence, verdict)
    return verdict


def _judge_end(evidence: Evidence, verdict: Verdict, excused: Sequence[str]) -> None:
    tracked, run, reasons = evidence.tracked, evidence.tracked.run, evidence.reasons
    verdict.resumed += any(event.HasField("run_resumed") for event in evidence.stored)
    if tracked.asks or "IN_DOUBT" in reasons:
        verdict.asked += 1
    elif run is None or not tracked.has_ended:
        verdict.runs_lost += 1
        last = tracked.events[-1].WhichOneof("payload") if tracked.events else "nothing"
        verdict.findings.append(f"{_name(tracked)} has not ended; its last event is {last}")
    elif reasons and all(reason in excused for reason in reasons):
        verdict.failed += 1
        verdict.reasons += reasons
    elif excused and run.state == agent_v1.Run.STATE_SUCCEEDED and tracked.kind in HOPS and not evidence.hops:
        verdict.failed += 1
        verdict.reasons.append(WITHOUT)
    elif reasons or run.state != agent_v1.Run.STATE_SUCCEEDED:
        verdict.runs_lost += 1
        verdict.findings.append(
            f"{_name(tracked)} failed with {', '.join(reasons)}: {(run.error.message or run.answer)[:120]!r}"
        )
    elif not _is_answered(tracked, run.answer):
        verdict.runs_lost += 1
        verdict.findings.append(f"{_name(tracked)} succeeded with the answer {run.answer[:120]!r}")


def _is_answered(tracked: Tracked, answer: str) -> bool:
    match tracked.kind:
        case "inside" | "outside":
            return answer == answer_to(tracked.query)
        case "story":
            return answer == STORY
        case "letters":
            return answer == POSTED
        case "code":
            return "42" in answer
        case "fact":
            return "35 days" in answer
        case _:
            return bool(answer)


def _judge_effects(evidence: Evidence, verdict: Verdict) -> None:
    counts = Counter(effect.hop_index for effect in evidence.effects)
    for index, count in counts.items():
        if count > 1:
            verdict.duplicated += count - 1
            keys = {effect.key for effect in evidence.effects if effect.hop_index == index}
            verdict.findings.append(f"{_name(evidence.tracked)} did hop {index} {count} times under {len(keys)} key(s)")
    for index, hop in evidence.hops.items():
        if hop.capability not in WITNESSED:
            continue
        reason = common_v1.ErrorReason.Name(hop.error.reason).removeprefix("ERROR_REASON_")
        is_failed = hop.HasField("error")
        if not is_failed and not counts[index]:
            verdict.effects_lost += 1
            verdict.findings.append(
                f"{_name(evidence.tracked)} has the answer of hop {index}, whose effect is not there"
            )
        if is_failed and counts[index] and reason != "IN_DOUBT":
            verdict.effects_lost += 1
            verdict.findings.append(
                f"{_name(evidence.tracked)} says that hop {index} failed ({reason}), but it was done"
            )


def _judge_messages(evidence: Evidence, verdict: Verdict) -> None:
    if not evidence.tracked.has_ended:
        return  # that is judged elsewhere
    applied = Counter(letter.message_id for letter in evidence.letters)
    mailbox = {message.message_id: message for message in evidence.messages}
    for message_id, count in applied.items():
        if count > 1:
            verdict.applied_twice += count - 1
            verdict.findings.append(f"{_name(evidence.tracked)} applied message {message_id} {count} times")
    for message_id in {*evidence.tracked.sent, *mailbox, *applied}:
        message = mailbox.get(message_id)
        is_excused = message is not None and _is_excused(message, evidence)
        verdict.messages += not is_excused
        if is_excused == bool(applied[message_id]):
            verdict.messages_lost += 1
            state = common_v1.A2aMessage.State.Name(message.state) if message else "not in the mailbox"
            verdict.findings.append(
                f"{_name(evidence.tracked)} applied message {message_id} {applied[message_id]} times, and it is {state}"
            )

    kept = [item for item in mailbox.values() if item.hop_index == 0 and not _is_excused(item, evidence)]
    if _is_posted(evidence) and len(kept) != LETTERS_OF_A_HOP:
        verdict.messages_lost += abs(LETTERS_OF_A_HOP - len(kept))
        verdict.findings.append(
            f"{_name(evidence.tracked)} has {len(kept)} of its first hop's {LETTERS_OF_A_HOP} letters"
        )


def _is_excused(message: common_v1.A2aMessage, evidence: Evidence) -> bool:
    """Whether nobody need have applied it: it came too late, or its hop never counted."""
    if message.state != common_v1.A2aMessage.STATE_DEAD_LETTERED:
        return False
    # the letters of a hop are there before the hop that posts them
    return message.hop_index < 0 or message.dead_letter_reason == DONE_AGAIN or not _is_posted(evidence)


def _is_posted(evidence: Evidence) -> bool:
    return any(hop.capability == "post" and not hop.HasField("error") for hop in evidence.hops.values())


def _judge_events(evidence: Evidence, verdict: Verdict) -> None:
    faults = [*_faults_of_sequence(evidence), *_faults_of_text(evidence)]
    if faults:
        verdict.broken += 1
        verdict.findings.append(f"{_name(evidence.tracked)}: {'; '.join(faults)}")


def _faults_of_sequence(evidence: Evidence) -> Iterable[str]:
    seen = [event.sequence for event in evidence.tracked.events]
    if seen != list(range(1, len(seen) + 1)):
        yield f"the events that were sent are numbered {_brief(seen)}"
    stored = {event.sequence: event for event in evidence.stored}
    if sorted(stored) != list(range(1, len(stored) + 1)) or len(stored) != len(evidence.stored):
        yield f"the stored events are numbered {_brief(event.sequence for event in evidence.stored)}"
    changed = [event.sequence for event in evidence.tracked.events if stored.get(event.sequence) != event]
    if changed:
        yield f"events {_brief(changed)} are not stored as they were sent"
    ends = [
        event.sequence
        for event in evidence.stored
        if event.HasField("state_changed") and event.state_changed.run.state >= agent_v1.Run.STATE_SUCCEEDED
    ]
    if evidence.tracked.has_ended and ends != [len(evidence.stored)]:
        yield f"it ended at {ends} of {len(evidence.stored)} events"


def _faults_of_text(evidence: Evidence) -> Iterable[str]:
    run = evidence.tracked.run
    if run is None or run.state != agent_v1.Run.STATE_SUCCEEDED:
        return
    attempts: dict[tuple[str, int], dict[int, str]] = defaultdict(lambda: defaultdict(str))
    for event in evidence.stored:
        if event.HasField("text_produced"):
            text = event.text_produced
            attempts[text.step, text.hop_index][text.attempt] += text.text
    answer = attempts.get(("respond", -1)) or attempts.get(("hop", 0))
    # a later attempt replaces the text of an earlier one
    if answer and not evidence.reasons and evidence.tracked.kind in ("story", "inside", "outside"):
        shown = answer[max(answer)].strip()
        if shown != run.answer:
            parts = {number: len(text) for number, text in answer.items()}
            yield f"its text ends {shown[-40:]!r}, its answer {run.answer[-40:]!r}; characters by attempt: {parts}"


def _brief(numbers: Iterable[int]) -> str:
    shown = list(numbers)
    return f"{shown[:5]}…{shown[-5:]}" if len(shown) > 10 else str(shown)


def _name(tracked: Tracked) -> str:
    return f"{tracked.run_id} ({tracked.query})"
