from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.rag.answering import NO_EVIDENCE, NOTHING_INGESTED, DocumentAnswers
from shared.call_context import CallContext
from shared.capability import Citation, Invocation, Output, Result, TextDelta, Usage
from shared.errors import DeadlineExceeded, ModelNonsense, ModelUnavailable, WaystationError
from shared.models.chat import ChatDelta, ChatMessage, ChatUsage, Completion
from tests.unit.services.rag.conftest import Library

QUESTION = "How long is the warranty of the pump?"
MANUAL = "# Pump\n\nSet it up level.\n\n## Warranty\n\nThe warranty of the pump lasts 24 months.\nSeals are excluded.\n"


class ScriptedModel:
    """Says its pieces, then fails if it is told to."""

    def __init__(self, *pieces: str, failure: WaystationError | None = None) -> None:
        self.pieces, self.failure = pieces, failure
        self.messages: Sequence[ChatMessage] = ()
        self.options: dict[str, Any] = {}

    async def stream(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncIterator[ChatDelta]:
        self.messages, self.options = messages, options
        for piece in self.pieces:
            yield ChatDelta(piece)
        if self.failure:
            raise self.failure
        yield ChatDelta(usage=ChatUsage("scripted", 10, 5))

    async def complete(self, messages: Sequence[ChatMessage], **options: Any) -> Completion:
        raise AssertionError("answers are streamed")


async def ask(library: Library, model: ScriptedModel, question: str = QUESTION, **fields: Any) -> list[Output]:
    answers = DocumentAnswers(library.retriever, {"low": model, "medium": model, "high": model}, ("an example",))
    outputs = [output async for output in answers.invoke(Invocation(question, **fields), CallContext())]
    texts = [output.text for output in outputs if isinstance(output, TextDelta)]
    assert isinstance(outputs[-1], Result) and "".join(texts) == outputs[-1].text
    return outputs


def citations(outputs: list[Output]) -> list[Citation]:
    return [output for output in outputs if isinstance(output, Citation)]


@pytest.fixture
async def manual(library: Library) -> Library:
    await library.add("manual.md", MANUAL)
    await library.add("tea.md", "# Tea\n\nTea is brewed with hot water.")
    return library


async def test_an_answer_cites_its_passage(manual: Library) -> None:
    model = ScriptedModel("It lasts 24 months", " [1]", ".")
    outputs = await ask(manual, model)
    assert outputs[-1] == Result("It lasts 24 months [1].", "answered")
    (citation,) = citations(outputs)
    assert citation.number == 1 and citation.source == "manual.md" and citation.title == "Pump"
    lines = MANUAL.split("\n")[citation.start_line - 1 : citation.end_line]
    assert any("24 months" in line for line in lines) and "24 months" in citation.quote
    assert any(isinstance(output, Usage) and output.model == "scripted" for output in outputs)


async def test_the_quote_is_the_part_that_bears_the_answer_out(library: Library) -> None:
    filler = "The pump is painted green and stands on the floor of the hall. " * 4
    await library.add("manual.txt", f"{filler}The warranty of the pump lasts 24 months. {filler}")
    (citation,) = citations(await ask(library, ScriptedModel("It lasts 24 months [1].")))
    assert "24 months" in citation.quote and len(citation.quote.split()) <= 40


async def test_the_prompt_is_short_and_numbered(manual: Library) -> None:
    await manual.add("long.md", "# Warranty\n\n" + "The warranty of the pump is long. " * 500)
    model = ScriptedModel("It is long [1].")
    await ask(manual, model, effort="high")
    prompt = model.messages[-1].content
    assert "[1] " in prompt and "[4] " in prompt and QUESTION in prompt and len(prompt.split()) < 600
    assert model.options["temperature"] == 0.0


async def test_without_a_marker_the_closest_passage_is_cited(manual: Library) -> None:
    outputs = await ask(manual, ScriptedModel("The pump's warranty lasts 24 months."))
    assert outputs[-1] == Result("The pump's warranty lasts 24 months. [1]", "answered")
    assert [item.source for item in citations(outputs)] == ["manual.md"]


async def test_a_marker_to_no_passage_is_removed(manual: Library) -> None:
    outputs = await ask(manual, ScriptedModel("It lasts 24 months [1] [9]."))
    assert outputs[-1] == Result("It lasts 24 months [1].", "answered") and len(citations(outputs)) == 1


async def test_the_models_refusal_is_no_answer(manual: Library) -> None:
    outputs = await ask(manual, ScriptedModel("NO", " ANS", "WER"))
    assert outputs[-1] == Result(NO_EVIDENCE, "no_answer") and citations(outputs) == []


async def test_without_evidence_no_model_is_asked(manual: Library) -> None:
    model = ScriptedModel("I guess.")
    outputs = await ask(manual, model, "Who painted the Night Watch?")
    assert outputs == [TextDelta(NO_EVIDENCE), Result(NO_EVIDENCE, "no_answer")] and model.messages == ()


async def test_an_empty_collection_names_the_command(library: Library) -> None:
    outputs = await ask(library, ScriptedModel())
    assert outputs[-1] == Result(NOTHING_INGESTED, "no_answer") and "waystation ingest" in NOTHING_INGESTED


async def test_another_tenants_documents_answer_nothing(manual: Library) -> None:
    assert (await ask(manual, ScriptedModel("x"), tenant="other"))[-1] == Result(NOTHING_INGESTED, "no_answer")


@pytest.mark.parametrize("failure", [ModelUnavailable("down"), DeadlineExceeded("late")])
async def test_without_a_model_the_passages_are_quoted(manual: Library, failure: WaystationError) -> None:
    outputs = await ask(manual, ScriptedModel(failure=failure))
    result = outputs[-1]
    assert isinstance(result, Result) and result.outcome == "degraded"
    assert "waystation models pull" in result.text and "waystation up" in result.text
    assert "> The warranty of the pump lasts 24 months." in result.text
    assert citations(outputs)[0].source == "manual.md"


async def test_a_model_that_stops_halfway_leaves_the_passages(manual: Library) -> None:
    outputs = await ask(manual, ScriptedModel("It lasts 24 months, as the", failure=ModelNonsense("cut")))
    result = outputs[-1]
    assert isinstance(result, Result) and result.outcome == "degraded"
    assert result.text.startswith("It lasts 24 months, as") and "stopped before" in result.text


async def test_a_smaller_budget_is_kept(manual: Library) -> None:
    model = ScriptedModel("Months [1].")
    await ask(manual, model, max_output_tokens=17)
    assert model.options["max_tokens"] == 17
