"""One run followed from a terminal: its events shown, its questions put to the user, its end reported."""

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import typer

from services.cli.mesh import calling
from services.cli.output import as_dict, err, note, out, print_json, print_json_line
from services.cli.run_view import RunView
from services.cli.transcript import Transcript
from services.cli.watch import Patience, RunWatch
from shared.errors import WaystationError
from shared.pb import agent_v1

CALL_TIMEOUT_S = 30.0
STOPPED = (agent_v1.Run.STATE_INPUT_REQUIRED, agent_v1.Run.STATE_PAUSED)


class RunSession:
    """Follows a run. `run_id` is known as soon as there is a run, so that an interrupted caller can name it."""

    def __init__(
        self,
        *,
        is_json: bool,
        is_events: bool,
        patience: Patience | None = None,
        ask_user: Callable[[str], str] | None = None,
        event_row: Callable[[agent_v1.RunEvent], dict[str, Any]] = as_dict,
    ) -> None:
        self.run_id = ""
        self.transcript = Transcript()
        self._is_json = is_json
        self._is_events = is_events
        self._patience = patience
        self._ask_user = ask_user
        self._event_row = event_row
        self._started = time.monotonic()
        self._view = RunView(out(), self.transcript)

    async def follow(self, agent: "agent_v1.AgentServiceAsyncStub", run_id: str, *, after_sequence: int = 0) -> None:
        """Show the run until it ends, or until it waits for somebody who is not here."""
        self.run_id = run_id
        watch = RunWatch(
            agent,
            run_id,
            after_sequence=after_sequence,
            patience=self._patience,
            on_break=self._say_break,
            on_return=lambda: self._note("The agent is back; the run goes on."),
        )
        async for event in watch.events():
            self._show(event)
            if await self._is_at_rest(agent, event) and not await self._answer(agent):
                break
        self._finish()

    def _show(self, event: agent_v1.RunEvent) -> None:
        is_new_attempt = self.transcript.apply(event)
        if self._is_events:
            print_json_line(self._event_row(event))
        elif not self._is_json:
            self._view.show(event, is_new_attempt=is_new_attempt)

    async def _is_at_rest(self, agent: "agent_v1.AgentServiceAsyncStub", event: agent_v1.RunEvent) -> bool:
        """Whether the run waits for somebody, and has not gone on since the event."""
        if event.WhichOneof("payload") != "state_changed" or event.state_changed.run.state not in STOPPED:
            return False
        with calling("agent"):
            response = await agent.GetRun(agent_v1.GetRunRequest(run_id=self.run_id), timeout=CALL_TIMEOUT_S)
        return bool(response.run.last_sequence <= event.sequence)

    async def _answer(self, agent: "agent_v1.AgentServiceAsyncStub") -> bool:
        """Put the run's questions to the user; False when they are for somebody else."""
        run = self.transcript.run
        if run.state != agent_v1.Run.STATE_INPUT_REQUIRED or self._ask_user is None or not run.questions:
            return False
        for question in run.questions:
            request = agent_v1.AnswerQuestionRequest(
                run_id=run.run_id, question_id=question.question_id, request_id=str(uuid.uuid4())
            )
            request.answer.string_value = self._ask_user(question.text)
            with calling("agent"):
                await agent.AnswerQuestion(request, timeout=CALL_TIMEOUT_S)
        return True

    def _finish(self) -> None:
        elapsed_s = time.monotonic() - self._started
        if self._is_json and not self._is_events:
            print_json(self.transcript.document(elapsed_s))
        elif not self._is_events:
            self._view.show_end(elapsed_s)
            self._say_how_to_go_on()
        if self.transcript.run.state in (agent_v1.Run.STATE_FAILED, agent_v1.Run.STATE_CANCELLED):
            raise typer.Exit(1)

    def _say_how_to_go_on(self) -> None:
        run = self.transcript.run
        if run.state == agent_v1.Run.STATE_PAUSED:
            note(f"The run is paused: waystation runs resume {run.run_id}")
        elif run.state == agent_v1.Run.STATE_INPUT_REQUIRED:
            for question in run.questions:
                note(f"It waits for an answer: waystation runs answer {run.run_id} {question.question_id} TEXT")

    def _say_break(self, error: WaystationError) -> None:
        self._note(f"The stream broke ({error.message}) The run is safe; looking for the agent again …")

    def _note(self, text: str) -> None:
        if self._is_json or self._is_events:
            note(text)
        else:
            self._view.show_note(text)


def user_asker() -> Callable[[str], str] | None:
    """How to ask the user; None when nobody sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return lambda question: err().input(f"{question}\n> ", markup=False)


def say_detached(run_id: str) -> None:
    """After Ctrl-C: the run goes on, and this is how to see it again."""
    if run_id:
        note(f"\nThe run goes on. Watch it: waystation runs watch {run_id}   Stop it: waystation runs cancel {run_id}")
