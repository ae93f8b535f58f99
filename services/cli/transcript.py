"""What a run's events add up to: the answer and how it came about, as one JSON document."""

from dataclasses import dataclass, field

from google.protobuf.message import Message

from services.cli.output import as_dict
from services.cli.recommendation import recommendation_row
from shared.pb import agent_v1

TextKey = tuple[str, int]
"""The step that writes and its hop."""


@dataclass
class Transcript:
    """Folds events, each once and in order."""

    run: agent_v1.Run = field(default_factory=agent_v1.Run)
    recommendation: agent_v1.Recommendation | None = None
    decisions: list[agent_v1.Decision] = field(default_factory=list)
    hops: dict[int, dict[str, object]] = field(default_factory=dict)
    tool_calls: dict[str, dict[str, object]] = field(default_factory=dict)
    artifacts: list[dict[str, object]] = field(default_factory=list)
    citations: list[dict[str, object]] = field(default_factory=list)
    _texts: dict[TextKey, tuple[int, str]] = field(default_factory=dict)

    def apply(self, event: agent_v1.RunEvent) -> bool:
        """Take an event in. Returns True when it is text of a new attempt that replaces text seen before."""
        kind = event.WhichOneof("payload")
        if kind == "state_changed":
            self.run.CopyFrom(event.state_changed.run)
        elif kind == "route_recommended":
            self.recommendation = event.route_recommended.recommendation
        elif kind == "decision_made":
            self.decisions.append(event.decision_made.decision)
        elif kind == "hop_started":
            started = event.hop_started
            self.hops[started.hop_index] = _pick(started, "hop_index", "capability", "role", "task")
        elif kind == "hop_ended":
            self._end_hop(event.hop_ended)
        elif kind == "text_produced":
            return self._add_text(event.text_produced)
        elif kind == "tool_called":
            called = event.tool_called
            self.tool_calls[called.tool_call_id] = _pick(called, "hop_index", "name", "arguments")
        elif kind == "tool_returned":
            returned = event.tool_returned
            row = self.tool_calls.setdefault(returned.tool_call_id, _pick(returned, "hop_index", "name"))
            row.update(_pick(returned, "content", "is_error"))
        elif kind == "artifact_made":
            self.artifacts.append({"hop_index": event.artifact_made.hop_index, **as_dict(event.artifact_made.artifact)})
        elif kind == "citation_found":
            self.citations.append(
                {"hop_index": event.citation_found.hop_index, **as_dict(event.citation_found.citation)}
            )
        return False

    @property
    def answer(self) -> str:
        """The run's answer, or what of it has come so far."""
        return self.run.answer or self.streamed_answer

    @property
    def streamed_answer(self) -> str:
        """The newest attempt of each step's answer text, joined."""
        return "".join(text for _, text in self._texts.values())

    def document(self, elapsed_s: float) -> dict[str, object]:
        """Everything, as JSON."""
        final = [as_dict(citation) for citation in self.run.citations]
        return {
            "run_id": self.run.run_id,
            "thread_id": self.run.thread_id,
            "state": state_name(self.run),
            "answer": self.answer,
            "recommendation": recommendation_row(self.recommendation) if self.recommendation else None,
            "decisions": [decision_row(decision) for decision in self.decisions],
            "hops": list(self.hops.values()),
            "remaining_hops": self.run.remaining_hops,
            "current_cycle": self.run.current_cycle,
            "max_cycles": self.run.max_cycles,
            "has_unresolved_review": self.run.has_unresolved_review,
            "tool_calls": list(self.tool_calls.values()),
            "citations": final or self.citations,
            "artifacts": self.artifacts,
            "questions": [as_dict(question) for question in self.run.questions],
            "usage": as_dict(self.run.usage),
            "error": as_dict(self.run.error) if self.run.HasField("error") else None,
            "elapsed_s": round(elapsed_s, 3),
        }

    def _end_hop(self, ended: agent_v1.HopEnded) -> None:
        row = self.hops.setdefault(ended.hop_index, _pick(ended, "hop_index", "capability", "role"))
        row.update(_pick(ended, "outcome", "is_replayed"))
        row["duration_ms"] = round(ended.duration.ToMicroseconds() / 1000, 3)
        row["error"] = as_dict(ended.error) if ended.HasField("error") else None

    def _add_text(self, produced: agent_v1.TextProduced) -> bool:
        if not produced.is_answer:
            return False
        key = (produced.step, produced.hop_index)
        attempt, text = self._texts.get(key, (produced.attempt, ""))
        if produced.attempt < attempt:
            return False
        is_new_attempt = produced.attempt > attempt and bool(text)
        self._texts[key] = (produced.attempt, produced.text if produced.attempt > attempt else text + produced.text)
        return is_new_attempt


def decision_row(decision: agent_v1.Decision) -> dict[str, object]:
    """A decision as JSON, with short names."""
    return {
        "action": short_name(agent_v1.Decision.Action.Name(decision.action), "ACTION_"),
        "source": short_name(agent_v1.Decision.Source.Name(decision.source), "SOURCE_"),
        "capability": decision.capability,
        "role": decision.role,
        "task": decision.task,
        "reason": decision.reason,
        "is_override": decision.is_override,
        "remaining_hops": decision.remaining_hops,
        "latency_ms": round(decision.latency.ToMicroseconds() / 1000, 3),
    }


def state_name(run: agent_v1.Run) -> str:
    """A run's state as people write it: "running", "input required" …"""
    return short_name(agent_v1.Run.State.Name(run.state), "STATE_")


def short_name(name: str, prefix: str) -> str:
    """An enum value's name without its prefix, in lower case with spaces."""
    return name.removeprefix(prefix).lower().replace("_", " ")


def _pick(message: Message, *names: str) -> dict[str, object]:
    fields = as_dict(message)
    return {name: fields[name] for name in names if name in fields}
