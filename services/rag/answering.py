"""The capability `rag`: answers a question from the documents, with citations, or says that they do not hold it."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from services.rag.document import Chunk
from services.rag.excerpt import QUOTE_WORDS, Excerpt, excerpt
from services.rag.index import Scope
from services.rag.prompts import PASSAGE, SYSTEM, USER
from services.rag.query_words import content_stems
from services.rag.reply import Reply
from services.rag.retriever import FoundPassage, Retriever
from shared.call_context import CallContext
from shared.capability import Citation, Descriptor, Invocation, Output, Result, TextDelta, Usage
from shared.capability.service import Effort
from shared.errors import DeadlineExceeded, LimitExceeded, ModelNonsense, ModelUnavailable
from shared.models.chat import ChatMessage, ChatModel

logger = logging.getLogger(__name__)

DESCRIPTION = (
    "Finds passages in the user's ingested documents and answers questions from them with citations of file and lines. "
    "Says so when the documents do not hold the answer."
)
TAGS = ("retrieval", "documents", "citations", "questions", "search", "facts", "summary")
PASSAGES_BY_EFFORT: Mapping[Effort, int] = {"low": 2, "medium": 3, "high": 4}
MAX_OUTPUT_TOKENS = 300
QUESTION_CHARACTERS = 2_000
"""So much of a long task goes into the prompt."""
ANSWER_MARGIN_S = 1.0
"""Kept of the deadline to say what was found when the model takes too long."""
MODEL_TIMEOUT_S = 180.0

NOTHING_INGESTED = "No documents are ingested yet. Take some in with `waystation ingest PATH`, then ask again."
NO_EVIDENCE = "The ingested documents do not seem to hold an answer to this, so I do not guess."
MODEL_AWAY = (
    "The chat model cannot be reached, so here are the best passages as they stand. "
    "(`waystation models pull` gets the model, `waystation up` starts it.)"
)
MODEL_STOPPED = "The chat model stopped before its answer was complete. These are the passages it had:"
MODEL_CONFUSED = "The chat model gave no usable answer, so here are the best passages as they stand."


@dataclass(frozen=True)
class _Source:
    """A passage as it stands in the prompt."""

    number: int
    found: FoundPassage
    excerpt: Excerpt


class DocumentAnswers:
    """Answers questions from one collection of the caller's tenant."""

    def __init__(
        self,
        retriever: Retriever,
        models: Mapping[Effort, ChatModel],
        examples: tuple[str, ...],
        collection: str = "default",
    ) -> None:
        self._retriever, self._models, self._collection = retriever, models, collection
        self._descriptor = Descriptor("rag", DESCRIPTION, TAGS, examples, is_idempotent=True)

    @property
    def descriptor(self) -> Descriptor:
        """What the service is for."""
        return self._descriptor

    async def invoke(self, invocation: Invocation, call: CallContext) -> AsyncIterator[Output]:
        """See `Capability.invoke`."""
        scope = Scope(invocation.tenant, self._collection)
        if self._retriever.is_empty(scope):
            yield TextDelta(NOTHING_INGESTED)
            yield Result(NOTHING_INGESTED, "no_answer")
            return
        found = await self._retriever.search(invocation.task, scope, top_k=PASSAGES_BY_EFFORT[invocation.effort])
        if not found.has_evidence:
            yield TextDelta(NO_EVIDENCE)
            yield Result(NO_EVIDENCE, "no_answer")
            return
        sources = [
            _Source(number, passage, excerpt(passage.stored.chunk, invocation.task))
            for number, passage in enumerate(found.passages, 1)
        ]
        outputs: Any = self._answer(invocation, call, sources)
        async with aclosing(outputs):
            async for output in outputs:
                yield output

    async def _answer(self, invocation: Invocation, call: CallContext, sources: list[_Source]) -> AsyncIterator[Output]:
        reply = Reply(len(sources))
        try:
            stream: Any = self._stream(invocation, call, sources)
            async with aclosing(stream):
                async for delta in stream:
                    if delta.usage:
                        yield Usage.of(delta.usage)
                    if shown := reply.feed(delta.text):
                        yield TextDelta(shown)
            if rest := reply.finish():
                yield TextDelta(rest)
        except (ModelUnavailable, DeadlineExceeded, LimitExceeded, ModelNonsense) as error:
            logger.warning("answering without the model: %s", error)
            for output in _degraded(reply, sources, invocation.task, error):
                yield output
            return
        for output in _ending(reply, sources, invocation.task):
            yield output

    def _stream(self, invocation: Invocation, call: CallContext, sources: list[_Source]) -> AsyncIterator[Any]:
        remaining = call.remaining_s()
        timeout = MODEL_TIMEOUT_S if remaining is None else min(MODEL_TIMEOUT_S, remaining - ANSWER_MARGIN_S)
        return self._models[invocation.effort].stream(
            build_messages(invocation.task, sources),
            max_tokens=min(MAX_OUTPUT_TOKENS, invocation.max_output_tokens or MAX_OUTPUT_TOKENS),
            temperature=0.0,
            timeout=max(0.0, timeout),
        )


def build_messages(question: str, sources: list[_Source]) -> list[ChatMessage]:
    """The prompt: short passages, then the question."""
    passages = "\n\n".join(
        PASSAGE.format(number=item.number, title=_heading(item.found), text=item.excerpt.text) for item in sources
    )
    content = USER.format(passages=passages, question=question[:QUESTION_CHARACTERS].strip())
    return [ChatMessage("system", SYSTEM), ChatMessage("user", content)]


def _ending(reply: Reply, sources: list[_Source], question: str) -> list[Output]:
    """What follows the model's last word."""
    if reply.is_refusal:
        return [TextDelta(NO_EVIDENCE), Result(NO_EVIDENCE, "no_answer")]
    outputs: list[Output] = []
    if not reply.cited:
        best = _closest(reply.text, sources)
        reply.cited.append(best)
        outputs.append(TextDelta(reply.append(f" [{best}]")))
    claim = f"{question}\n{reply.text}"
    outputs += [_citation(sources[number - 1], claim) for number in reply.cited]
    return [*outputs, Result(reply.text, "answered")]


def _degraded(reply: Reply, sources: list[_Source], question: str, error: Exception) -> list[Output]:
    """The passages themselves, in place of an answer."""
    lead = MODEL_CONFUSED if isinstance(error, ModelNonsense) else MODEL_AWAY
    lead = f"\n\n{MODEL_STOPPED}" if reply.text else lead
    quotes = "".join(
        f"\n\n[{item.number}] {_heading(item.found)}\n> " + item.excerpt.text.replace("\n", "\n> ") for item in sources
    )
    shown = reply.append(lead + quotes)
    citations = [_citation(item, question) for item in sources]
    return [TextDelta(shown), *citations, Result(reply.text, "degraded")]


def _closest(answer: str, sources: list[_Source]) -> int:
    """The number of the passage that shares most words with the answer."""
    words = content_stems(answer)
    return max(sources, key=lambda item: (len(words & content_stems(item.excerpt.text)), -item.number)).number


def _heading(found: FoundPassage) -> str:
    stored = found.stored
    names = [stored.title, stored.chunk.heading.removeprefix(stored.title).removeprefix(" › ")]
    return " › ".join(name for name in names if name) or stored.source


def _citation(item: _Source, claim: str) -> Citation:
    """The citation of a passage, with the words of it that are nearest to `claim`."""
    stored = item.found.stored
    quote = excerpt(Chunk(item.excerpt.text), claim, QUOTE_WORDS).text
    return Citation(
        number=item.number,
        source=stored.source,
        title=stored.title,
        start_line=item.excerpt.start_line,
        end_line=item.excerpt.end_line,
        page=stored.chunk.page,
        quote=" ".join(quote.split()),
        chunk_id=str(stored.chunk_id),
        score=item.found.score,
    )
