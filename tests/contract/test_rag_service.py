"""The rag service over a real gRPC server, with the real index and embedding model; the chat model is scripted."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.rag.answering import DocumentAnswers
from services.rag.index import SCHEMA
from services.rag.ingestion import Ingestion
from services.rag.retriever import Retriever
from services.rag.servicer import SERVICE_NAME, RagServicer
from services.rag.vector_memory import VectorMemory
from shared.capability.servicer import CapabilityServicer
from shared.errors import InvalidInput, WaystationError
from shared.models.chat import ChatDelta, ChatMessage, Completion
from shared.models.embedder import Embedder
from shared.pb import capability_v1, common_v1, rag_v1
from shared.rpc.channel import open_channel
from shared.rpc.server import RpcServer
from shared.rpc.status import peer_errors
from shared.storage.database import Database

State = rag_v1.DocumentOutcome
HANDBOOK = (
    "# Handbook\n\n## Travel\n\nEmployees book trains in second class. First class is paid for journeys of more than "
    "four hours.\n\n## Keys\n\nAPI keys are rotated every 90 days with the command keyctl-rotate.\n"
)
PUMP = "The pump HX-7 has a nominal pressure of 3.8 bar.\n"


class ScriptedModel:
    """Says the same every time."""

    async def stream(self, messages: Sequence[ChatMessage], **_: Any) -> AsyncIterator[ChatDelta]:
        yield ChatDelta("Every 90 days ")
        yield ChatDelta("[1].")

    async def complete(self, messages: Sequence[ChatMessage], **_: Any) -> Completion:
        raise AssertionError("answers are streamed")


@dataclass(frozen=True)
class Stubs:
    rag: "rag_v1.RagServiceAsyncStub"
    capability: "capability_v1.CapabilityServiceAsyncStub"

    async def ingest(self, *parts: rag_v1.IngestRequest) -> list[State]:
        call = self.rag.Ingest(_stream(parts), timeout=60)
        with peer_errors("rag"):
            return [response.outcome async for response in call]

    async def add(self, collection: str = "", tenant: str = "", **content: str | bytes) -> list[State]:
        """Ingest documents: `handbook_md="text"` is handbook.md."""
        parts = [header(collection, tenant)]
        for name, body in content.items():
            parts += document(name.replace("_", "."), body.encode() if isinstance(body, str) else body)
        return await self.ingest(*parts)

    async def search(self, query: str, **fields: Any) -> rag_v1.SearchResponse:
        with peer_errors("rag"):
            return await self.rag.Search(rag_v1.SearchRequest(query=query, **fields), timeout=20)


async def _stream(parts: Sequence[rag_v1.IngestRequest]) -> AsyncIterator[rag_v1.IngestRequest]:
    for part in parts:
        yield part


def header(collection: str = "", tenant: str = "") -> rag_v1.IngestRequest:
    return rag_v1.IngestRequest(header=rag_v1.IngestHeader(collection=collection, tenant=tenant))


def document(source: str, body: bytes, **fields: Any) -> list[rag_v1.IngestRequest]:
    start = rag_v1.DocumentHeader(source=source, size_bytes=len(body), **fields)
    return [rag_v1.IngestRequest(document=start), rag_v1.IngestRequest(data=body)]


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with Embedder(threads=1) as embedder:
        yield embedder


@asynccontextmanager
async def serving(folder: Path, embedder: Embedder) -> AsyncIterator[Stubs]:
    database = Database(folder / "index.db", SCHEMA, synchronous="NORMAL")
    database.open()
    memory = VectorMemory(embedder.dimensions)
    retriever = Retriever(database, memory, embedder)
    model = ScriptedModel()
    answers = DocumentAnswers(retriever, {"low": model, "medium": model, "high": model}, ("what do the docs say",))
    servicer = RagServicer(Ingestion(database, memory, embedder), retriever, database)

    def add(server: grpc.aio.Server) -> None:
        rag_v1.add_RagServiceServicer_to_server(servicer, server)
        capability_v1.add_CapabilityServiceServicer_to_server(CapabilityServicer(answers), server)

    async with RpcServer("127.0.0.1", 0, add, (SERVICE_NAME,)) as server, open_channel(server.address) as channel:
        yield Stubs(rag_v1.RagServiceStub(channel), capability_v1.CapabilityServiceStub(channel))
    database.close()


@pytest.fixture
async def stubs(tmp_path: Path, embedder: Embedder) -> AsyncIterator[Stubs]:
    async with serving(tmp_path, embedder) as stubs:
        yield stubs


async def test_a_document_is_found_by_its_words_and_by_its_meaning(stubs: Stubs) -> None:
    outcomes = await stubs.add(handbook_md=HANDBOOK, pump_txt=PUMP)
    assert [(item.source, item.state) for item in outcomes] == [
        ("handbook.md", State.STATE_ADDED),
        ("pump.txt", State.STATE_ADDED),
    ]
    found = await stubs.search("keyctl-rotate")
    assert found.has_evidence and found.latency.ToMicroseconds() > 0
    assert (found.hits[0].source, found.hits[0].document_id, found.hits[0].title) == (
        "handbook.md", "handbook.md", "Handbook",
    )  # fmt: skip
    assert found.hits[0].start_line == 1 and found.hits[0].lexical_rank == 1
    assert (await stubs.search("how much force does the machine move water with")).hits[0].source == "pump.txt"
    assert not (await stubs.search("who painted the Mona Lisa")).has_evidence


async def test_what_is_sent_again_is_unchanged(stubs: Stubs) -> None:
    await stubs.add(pump_txt=PUMP)
    digest = hashlib.sha256(PUMP.encode()).hexdigest()
    request = rag_v1.CompareDigestsRequest(
        documents=[
            rag_v1.DocumentHeader(source="pump.txt", sha256=digest),
            rag_v1.DocumentHeader(source="new.txt", sha256=digest),
        ]
    )
    assert (await stubs.rag.CompareDigests(request)).unchanged_sources == ["pump.txt"]
    assert [item.state for item in await stubs.add(pump_txt=PUMP)] == [State.STATE_UNCHANGED]
    assert [item.state for item in await stubs.add(pump_txt=PUMP + "New.")] == [State.STATE_REPLACED]


async def test_bad_documents_are_reported_and_the_rest_is_taken(stubs: Stubs) -> None:
    changed = document("changed.txt", b"abc", sha256="0" * 64)
    outcomes = await stubs.ingest(
        header(),
        *document("a.txt", bytes(range(256))),
        *document("b.pdf", b"%PDF-1.7 rubbish"),
        *changed,
        *document("rows.jsonl", b'{"_id": "r1", "text": "a row on turbines"}\n{broken'),
        *document("good.txt", PUMP.encode()),
    )
    states = {item.source: item.state for item in outcomes}
    assert states == {
        "a.txt": State.STATE_SKIPPED,
        "b.pdf": State.STATE_SKIPPED,
        "changed.txt": State.STATE_SKIPPED,
        "rows.jsonl": State.STATE_ADDED,
        "good.txt": State.STATE_ADDED,
    }
    assert all(item.message for item in outcomes[:4])
    assert {item.reason for item in outcomes[:4]} == {common_v1.ERROR_REASON_BAD_DOCUMENT}
    assert outcomes[3].document_count == 1 and "Line 2" in outcomes[3].message
    assert (await stubs.search("turbines", method=rag_v1.SearchRequest.METHOD_LEXICAL)).hits[0].document_id == "r1"


async def test_the_first_outcome_comes_before_the_stream_ends(stubs: Stubs) -> None:
    may_end = asyncio.Event()

    async def parts() -> AsyncIterator[rag_v1.IngestRequest]:
        for part in (header(), *document("a.txt", b"alpha"), *document("b.txt", b"beta")):
            yield part
        await may_end.wait()

    call = stubs.rag.Ingest(parts(), timeout=60)
    responses = aiter(call)
    assert (await anext(responses)).outcome.source == "a.txt"
    may_end.set()
    assert [response.outcome.source async for response in responses] == ["b.txt"]


async def test_documents_are_listed_in_pages_and_deleted(stubs: Stubs) -> None:
    await stubs.add(a_txt="alpha", b_txt="beta", c_txt="gamma")
    first = await stubs.rag.ListDocuments(rag_v1.ListDocumentsRequest(page_size=2))
    rest = await stubs.rag.ListDocuments(rag_v1.ListDocumentsRequest(page_size=2, page_token=first.next_page_token))
    assert [item.source for item in (*first.documents, *rest.documents)] == ["a.txt", "b.txt", "c.txt"]
    assert rest.next_page_token == "" and first.documents[0].ingest_time.seconds > 0
    deleted = await stubs.rag.DeleteDocuments(rag_v1.DeleteDocumentsRequest(sources=["a.txt"], source_prefix="c"))
    assert deleted.deleted_count == 2
    assert [hit.source for hit in (await stubs.search("alpha")).hits] == ["b.txt"]
    everything = rag_v1.DeleteDocumentsRequest(is_whole_collection=True)
    assert (await stubs.rag.DeleteDocuments(everything)).deleted_count == 1
    assert list((await stubs.search("beta")).hits) == []


async def test_tenants_do_not_see_each_other(stubs: Stubs) -> None:
    await stubs.add(tenant="one", pump_txt=PUMP)
    assert list((await stubs.search("pump pressure", tenant="two")).hits) == []
    assert len((await stubs.search("pump pressure", tenant="one")).hits) == 1


async def test_an_answer_is_streamed_with_its_citation(stubs: Stubs) -> None:
    await stubs.add(handbook_md=HANDBOOK)
    call = stubs.capability.Invoke(capability_v1.InvokeRequest(task="How often are API keys rotated?"), timeout=20)
    outputs = [response async for response in call]
    assert outputs[-1].result.text == "Every 90 days [1]."
    assert outputs[-1].result.outcome == capability_v1.Result.OUTCOME_ANSWERED
    citations = [item.citation for item in outputs if item.WhichOneof("output") == "citation"]
    assert [(item.number, item.source) for item in citations] == [(1, "handbook.md")]
    assert "90 days" in citations[0].quote


async def test_before_anything_is_ingested_the_answer_says_so(stubs: Stubs) -> None:
    call = stubs.capability.Invoke(capability_v1.InvokeRequest(task="How often are keys rotated?"), timeout=20)
    result = [response async for response in call][-1].result
    assert result.outcome == capability_v1.Result.OUTCOME_NO_ANSWER and "waystation ingest" in result.text


async def test_it_describes_itself(stubs: Stubs) -> None:
    descriptor = (await stubs.capability.Describe(capability_v1.DescribeRequest())).descriptor
    assert descriptor.name == "rag" and "citations" in descriptor.tags and descriptor.is_idempotent


BAD_SEARCHES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"query": "  "}, "query"),
    ({"query": "x" * 100_000}, "query"),
    ({"query": "a\x07b"}, "query"),
    ({"query": "a", "top_k": 201}, "top_k"),
    ({"query": "a", "top_k": -1}, "top_k"),
    ({"query": "a", "method": 17}, "method"),
    ({"query": "a", "collection": "x" * 300}, "collection"),
    ({"query": "a", "tenant": "a\nb"}, "tenant"),
)


@pytest.mark.parametrize(("fields", "names"), BAD_SEARCHES)
async def test_a_bad_search_is_refused_and_names_the_field(stubs: Stubs, fields: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await stubs.search(**fields)
    assert refused.value.metadata["field"] == names


@pytest.mark.parametrize(
    "parts",
    [
        [],
        document("a.txt", b"no header"),
        [header(), header()],
        [header(), rag_v1.IngestRequest(data=b"before a document")],
        [header(), rag_v1.IngestRequest()],
        [header(), *document("", b"no name")],
        [header(), *document("a.txt", b"x" * (1024 * 1024 + 1))],
    ],
    ids=["empty", "no header", "two headers", "data first", "empty part", "no source", "large piece"],
)
async def test_a_malformed_ingest_is_refused(stubs: Stubs, parts: list[rag_v1.IngestRequest]) -> None:
    with pytest.raises(InvalidInput):
        await stubs.ingest(*parts)


async def test_other_bad_requests_are_refused(stubs: Stubs) -> None:
    calls = (
        stubs.rag.ListDocuments(rag_v1.ListDocumentsRequest(page_token="rubbish")),
        stubs.rag.ListDocuments(rag_v1.ListDocumentsRequest(page_size=-1)),
        stubs.rag.DeleteDocuments(rag_v1.DeleteDocumentsRequest()),
        stubs.rag.CompareDigests(
            rag_v1.CompareDigestsRequest(documents=[rag_v1.DocumentHeader(source=str(n)) for n in range(10_001)])
        ),
    )
    for call in calls:
        with pytest.raises(WaystationError) as refused:
            with peer_errors("rag"):
                await call
        assert isinstance(refused.value, InvalidInput)


async def test_searches_go_on_while_a_large_document_is_taken_in(stubs: Stubs) -> None:
    await stubs.add(pump_txt=PUMP)
    large = "\n\n".join(f"Paragraph {number} tells of gears and levers at length. " * 12 for number in range(40))
    ingest = asyncio.create_task(stubs.add(large_txt=large))
    found = [await stubs.search("pump pressure") for _ in range(3)]
    assert all(item.hits[0].source == "pump.txt" for item in found) and not ingest.done()
    assert (await ingest)[0].state == State.STATE_ADDED
