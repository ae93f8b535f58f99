"""The rag process: builds everything and serves. The only file that knows all the others."""

from contextlib import AsyncExitStack
from pathlib import Path

import grpc

from services.rag.answering import DocumentAnswers
from services.rag.index import SCHEMA, load_vectors
from services.rag.ingestion import Ingestion
from services.rag.retriever import Retriever
from services.rag.servicer import SERVICE_NAME, RagServicer
from services.rag.settings import RagSettings
from services.rag.vector_memory import VectorMemory
from shared.capability.serve import open_ledger, serve_capability
from shared.capability.service import Effort
from shared.models.chat import ChatModel, OpenAiChatModel
from shared.models.embedder import Embedder
from shared.models.recorded_chat import RecordedChatModel
from shared.pb import rag_v1
from shared.process import run_process
from shared.storage.database import Database
from shared.storage.ledger import Ledger

EXAMPLES = Path(__file__).with_name("examples.txt")


async def serve(settings: RagSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        database = Database(settings.home / "rag" / "index.db", SCHEMA)
        database.open()
        stack.callback(database.close)
        embedder = Embedder(threads=settings.embedding_threads)
        stack.callback(embedder.close)
        memory = VectorMemory(embedder.dimensions)
        for change in await database.read(load_vectors):
            memory.apply(change)
        retriever = Retriever(database, memory, embedder)
        ledger = stack.enter_context(open_ledger(settings, "rag"))
        servicer = RagServicer(Ingestion(database, memory, embedder), retriever, database)

        def add(server: grpc.aio.Server) -> None:
            rag_v1.add_RagServiceServicer_to_server(servicer, server)

        await serve_capability(
            settings,
            instance_id,
            _answers(settings, retriever, ledger, stack),
            ledger=ledger,
            add_servicers=add,
            service_names=(SERVICE_NAME,),
            counters=lambda: {"chunks": float(len(memory))},
        )


def _answers(settings: RagSettings, retriever: Retriever, ledger: Ledger, stack: AsyncExitStack) -> DocumentAnswers:
    key = settings.model_api_key.get_secret_value()
    model = OpenAiChatModel(settings.model_url, settings.model_name, key)
    small_model = OpenAiChatModel(settings.model_url, settings.low_effort_model_name, key)
    stack.push_async_callback(model.close)
    stack.push_async_callback(small_model.close)
    examples = tuple(line for line in EXAMPLES.read_text(encoding="utf-8").splitlines() if line.strip())
    recorded, small_recorded = RecordedChatModel(model, ledger), RecordedChatModel(small_model, ledger)
    models: dict[Effort, ChatModel] = {"low": small_recorded, "medium": recorded, "high": recorded}
    return DocumentAnswers(retriever, models, examples, settings.answer_collection)


if __name__ == "__main__":
    run_process(RagSettings, serve)
