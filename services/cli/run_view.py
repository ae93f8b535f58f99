"""Shows a run at a terminal while it happens: how it was decided, who was called, and the answer as it comes."""

import json

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from services.cli.recommendation import recommendation_table, recommendation_title
from services.cli.transcript import Transcript, decision_row, state_name
from shared.pb import agent_v1, common_v1

LABEL_WIDTH = 9
RESULT_CHARS = 300
STATE_STYLES = {"succeeded": "green", "failed": "bold red", "cancelled": "yellow"}


class RunView:
    """Draws events on a console. The transcript must have taken an event in before it is shown."""

    def __init__(self, console: Console, transcript: Transcript) -> None:
        self._console = console
        self._transcript = transcript
        self._is_in_text = False

    def show(self, event: agent_v1.RunEvent, *, is_new_attempt: bool) -> None:
        """Draw an event; those that say nothing to people are passed over."""
        kind = event.WhichOneof("payload")
        if kind == "text_produced":
            self._show_text(event.text_produced, is_new_attempt)
        elif kind == "route_recommended":
            recommendation = event.route_recommended.recommendation
            self._line("router", recommendation_title(recommendation))
            self._console.print(Padding(recommendation_table(recommendation), (0, 0, 0, LABEL_WIDTH)))
        elif kind == "decision_made":
            self._show_decision(event.decision_made.decision)
        elif kind == "hop_started":
            started = event.hop_started
            role = f" as {started.role}" if started.role else ""
            self._line(f"hop {started.hop_index}", f"{started.capability}{role}: {started.task}")
        elif kind == "hop_ended":
            self._show_hop_end(event.hop_ended)
        elif kind == "tool_called":
            arguments = json.dumps(MessageToDict(event.tool_called.arguments), ensure_ascii=False)
            self._line("tool", f"{event.tool_called.name} {_shortened(arguments)}")
        elif kind == "tool_returned":
            returned = event.tool_returned
            self._line("", f"→ {_shortened(returned.content)}", style="red" if returned.is_error else "")
        elif kind == "artifact_made":
            self._show_artifact(event.artifact_made.artifact)
        elif kind == "question_asked":
            self._line("question", event.question_asked.question.text, style="bold")
        elif kind == "guardian_acted":
            acted = event.guardian_acted
            self._line("guardian", f"{acted.actor}: {acted.action} ({acted.reason})", style="yellow")
        elif kind == "cycle_changed":
            changed = event.cycle_changed
            rest = ", and the last review still wants changes" if changed.has_unresolved_review else ""
            self._line(
                "cycle", f"{changed.current_cycle} of {changed.max_cycles}{rest}", style="yellow" if rest else ""
            )
        elif kind == "run_resumed":
            resumed = event.run_resumed
            self._line("resumed", f"after {resumed.cause}, attempt {resumed.attempt}", style="yellow")

    def show_note(self, text: str) -> None:
        """A line that is about the watching, not about the run."""
        self._end_text()
        self._console.print(Text(text, style="yellow"), soft_wrap=True)

    def show_end(self, elapsed_s: float) -> None:
        """The answer, when it did not come as a stream, its sources, and one line of totals."""
        run = self._transcript.run
        self._end_text()
        if run.answer and not self._transcript.streamed_answer:
            self._console.print(Text("\n" + run.answer), soft_wrap=True)
        elif run.answer.strip() != self._transcript.streamed_answer.strip() and run.answer:
            self._console.print(Text("\nThe answer as it was committed:\n" + run.answer), soft_wrap=True)
        self._show_sources()
        if run.HasField("error"):
            self._console.print(Text(f"\n{run.error.message}", style="bold red"), soft_wrap=True)
            if run.error.remedy:
                self._console.print(Text(run.error.remedy, style="dim"), soft_wrap=True)
        state = state_name(run)
        hops = f"{run.hop_count} hop{'' if run.hop_count == 1 else 's'}"
        hops += f" · {run.current_cycle} of {run.max_cycles} cycles" if run.max_cycles else ""
        hops += " · review unresolved" if run.has_unresolved_review else ""
        tokens = f"{run.usage.output_tokens} tokens written · " if run.usage.output_tokens else ""
        totals = Text(f"\n{state}", style=STATE_STYLES.get(state, ""))
        totals.append(f" · {hops} · {tokens}{elapsed_s:.1f} s · run {run.run_id} · thread {run.thread_id}", style="dim")
        self._console.print(totals, soft_wrap=True)

    def _show_text(self, produced: agent_v1.TextProduced, is_new_attempt: bool) -> None:
        if not produced.is_answer:
            return
        if is_new_attempt:
            self.show_note("(the step is repeated; its text starts again)")
        if not self._is_in_text:
            self._console.print()
            self._is_in_text = True
        self._console.print(Text(produced.text), end="", soft_wrap=True)

    def _end_text(self) -> None:
        if self._is_in_text:
            self._console.print()
            self._is_in_text = False

    def _line(self, label: str, text: str, *, style: str = "") -> None:
        self._end_text()
        line = Text(f"{label:<{LABEL_WIDTH}}", style="bold cyan")
        line.append(text, style=style or "default")
        self._console.print(line, soft_wrap=True)

    def _show_decision(self, decision: agent_v1.Decision) -> None:
        row = decision_row(decision)
        target = f" {decision.capability}" if decision.capability else ""
        override = ", against the router" if decision.is_override else ""
        took_s = decision.latency.ToMicroseconds() / 1e6
        self._line("decision", f"{row['action']}{target} (by {row['source']}{override}, {took_s:.1f} s)")
        if decision.reason:
            self._line("", decision.reason, style="dim")

    def _show_hop_end(self, ended: agent_v1.HopEnded) -> None:
        took_s = ended.duration.ToMicroseconds() / 1e6
        if ended.HasField("error"):
            self._line("", f"failed after {took_s:.1f} s: {ended.error.message}", style="red")
        else:
            replayed = ", from the ledger" if ended.is_replayed else ""
            self._line("", f"{ended.outcome or 'ended'} after {took_s:.1f} s{replayed}", style="dim")

    def _show_artifact(self, artifact: common_v1.Artifact) -> None:
        facts = ", ".join(f"{name} {value}" for name, value in sorted(artifact.metadata.items()) if len(value) < 40)
        self._line(artifact.kind[: LABEL_WIDTH - 1], f"{artifact.name}{f' ({facts})' if facts else ''}")
        if not artifact.text:
            return
        language = "python" if artifact.kind == "code" else "text"
        self._console.print(Padding(Syntax(artifact.text.rstrip(), language, word_wrap=True), (0, 0, 0, LABEL_WIDTH)))

    def _show_sources(self) -> None:
        citations = self._transcript.run.citations
        if not citations:
            return
        self._console.print(Text("\nSources", style="bold"))
        for number, citation in enumerate(citations, start=1):
            place = f"{citation.source}:{citation.start_line}-{citation.end_line}" if citation.start_line else ""
            place = place or (f"{citation.source}, page {citation.page}" if citation.page else citation.source)
            line = Text(f"  [{citation.number or number}] ", style="bold")
            line.append(place, style="cyan")
            line.append(f"  {citation.title}" if citation.title else "", style="dim")
            self._console.print(line, soft_wrap=True)


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= RESULT_CHARS else flat[: RESULT_CHARS - 1] + "…"
