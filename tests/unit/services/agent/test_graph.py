"""A step's text is stored before its result: a step that has a checkpoint is never done, nor told, again."""

from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from services.agent.arbitrator import Thresholds
from services.agent.graph import Kit, Limits
from services.agent.ports import Ports
from services.agent.state import Recommendation, RunContext, initial_state
from services.agent.workflows.catalogue import open_catalogue
from shared.capability import Descriptor
from shared.models.chat import ChatDelta
from tests.fakes.no_mail import NoMail


class Journal:
    """Notes in one list what is told and what is stored, as it happens."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def emit(self, run_id: str, payload: Message) -> "Future[None]":
        stored: Future[None] = Future()
        stored.set_result(None)
        return stored

    def flush(self, run_id: str) -> None:
        self.entries.append("flush")

    def emit_text(self, run_id: str, text: str, step: str, hop_index: int) -> None:
        self.entries.append("text")


class NotingSaver(InMemorySaver):
    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._journal.entries.append("writes")
        await super().aput_writes(config, writes, task_id, task_path)

    async def aput(self, *arguments: Any) -> RunnableConfig:
        self._journal.entries.append("checkpoint")
        return await super().aput(*arguments)


class Nobody:
    """A mesh without services."""

    async def recommend(self, query: str, tags: Collection[str] = ()) -> Recommendation:
        return Recommendation(top="", confidence=1.0, candidates=[], router="none", latency_ms=0.0)

    def services(self) -> Sequence[Descriptor]:
        return []

    def address_of(self, capability: str) -> str:
        return ""


class Talker:
    async def stream(self, messages: Any, **options: Any) -> AsyncIterator[ChatDelta]:
        for word in ("Good ", "morning."):
            yield ChatDelta(word)


async def test_all_of_a_steps_text_is_flushed_before_anything_of_the_step_is_saved(tmp_path: Path) -> None:
    journal, nobody = Journal(), Nobody()
    ports: Any = Ports(nobody, nobody, Any, journal, NoMail(), {"medium": Talker()})  # type: ignore[arg-type,dict-item]
    kit = Kit(ports, Limits(Thresholds(0.8, 0.5), 5, 5, 5), NotingSaver(journal))
    graph = open_catalogue(kit, tmp_path, 3).get("auto").graph
    context = RunContext("run", "thread", "correlation")
    config: Any = {"configurable": {"thread_id": "thread"}}
    state = await graph.ainvoke(initial_state("hello", "medium", 3), config, context=context, durability="sync")
    assert state["answer"] == "Good morning."
    last_text = len(journal.entries) - journal.entries[::-1].index("text")
    assert journal.entries[last_text] == "flush"
    assert set(journal.entries[last_text + 1 :]) >= {"checkpoint"}
