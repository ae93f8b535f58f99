"""Answers to a run's questions: each question is answered once, and the answer is stored before the run goes on."""

import json
from typing import Any

import apsw
import jsonschema

from services.agent.custody import wrong_state
from services.agent.run_rows import load_run, save_run
from shared.capability.wire import json_value
from shared.errors import InvalidInput, WrongState
from shared.pb import agent_v1

MAX_ANSWER_BYTES = 32_768


def keep_answer(connection: apsw.Connection, run_id: str, question_id: str, answer: Any, request_id: str) -> bool:
    """Store the answer to an open question; False when the same request has answered it before.

    With the last one the run is to go on, whatever happens to this process next. Runs inside a transaction. Raises
    `NotFound` (run), `WrongState` (the question is not open), `InvalidInput` (the answer does not fit the schema).
    """
    run = load_run(connection, run_id)
    sql = "SELECT request_id FROM answers WHERE run_id = ? AND question_id = ?"
    known = connection.execute(sql, (run_id, question_id)).get
    if known is not None and known == request_id != "":
        return False
    question = next((item for item in run.questions if item.question_id == question_id), None)
    if known is not None or question is None:
        if run.state != agent_v1.Run.STATE_INPUT_REQUIRED:
            raise wrong_state(run)
        opened = ", ".join(item.question_id for item in run.questions)
        raise WrongState(
            f"Run {run_id} has no open question {question_id!r}.", remedy=f"Open: {opened}.", question_id=question_id
        )
    check_answer(question, answer)
    row = (run_id, question_id, request_id, json.dumps(answer))
    connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", row)
    answered = stored_answers(connection, run_id)
    if all(item.question_id in answered for item in run.questions):
        run.state = agent_v1.Run.STATE_RUNNING
        save_run(connection, run)
    return True


def check_answer(question: agent_v1.Question, answer: Any) -> None:
    """Raise `InvalidInput` unless the answer is of a possible size and fits the question's schema."""
    size = len(json.dumps(answer).encode())
    if size > MAX_ANSWER_BYTES:
        raise InvalidInput(
            f"The answer has {size} bytes; {MAX_ANSWER_BYTES} are possible.", field="answer", limit=MAX_ANSWER_BYTES
        )
    schema = json_value(question.response_schema)
    try:
        jsonschema.validate(answer, schema)
    except jsonschema.ValidationError as error:
        raise InvalidInput(
            f"The answer does not fit the question: {error.message}.",
            remedy=f"Its schema: {json.dumps(schema)}",
            field="answer",
        ) from None


def stored_answers(connection: apsw.Connection, run_id: str) -> dict[str, Any]:
    """The answers of a run, by question id."""
    rows = connection.execute("SELECT question_id, answer FROM answers WHERE run_id = ?", (run_id,))
    return {question_id: json.loads(answer) for question_id, answer in rows}
