"""`waystation.rag.v1.RagService`: proto in, domain call, proto out."""

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import grpc

from services.rag.index import Scope, StoredDocument, list_documents
from services.rag.ingestion import Ingestion, Outcome
from services.rag.retriever import MAX_TOP_K, FoundPassage, Method, Retriever
from services.rag.upload import DocumentStart, Uploaded, assemble
from shared.errors import InvalidInput
from shared.pb import common_v1, rag_v1
from shared.storage.database import Database

SERVICE_NAME = "waystation.rag.v1.RagService"
DEFAULT = "default"
DEFAULT_TOP_K = 10
DEFAULT_PAGE = 100
MAX_PAGE = 1_000
MAX_COMPARED = 10_000
MAX_NAME_CHARACTERS = 200

_Context = grpc.aio.ServicerContext[Any, Any]
_METHODS: dict["rag_v1.SearchRequest.Method.ValueType", Method] = {
    rag_v1.SearchRequest.METHOD_UNSPECIFIED: "hybrid",
    rag_v1.SearchRequest.METHOD_HYBRID: "hybrid",
    rag_v1.SearchRequest.METHOD_LEXICAL: "lexical",
    rag_v1.SearchRequest.METHOD_DENSE: "dense",
}
_STATES = {
    "added": rag_v1.DocumentOutcome.STATE_ADDED,
    "replaced": rag_v1.DocumentOutcome.STATE_REPLACED,
    "unchanged": rag_v1.DocumentOutcome.STATE_UNCHANGED,
    "skipped": rag_v1.DocumentOutcome.STATE_SKIPPED,
}


class RagServicer(rag_v1.RagServiceServicer):
    """Ingest, search, list and delete over gRPC."""

    def __init__(self, ingestion: Ingestion, retriever: Retriever, database: Database) -> None:
        self._ingestion, self._retriever, self._database = ingestion, retriever, database

    async def Ingest(
        self, request_iterator: AsyncIterator[rag_v1.IngestRequest], context: _Context
    ) -> AsyncIterator[rag_v1.IngestResponse]:
        """See the contract."""
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "header":
            raise InvalidInput("An ingest stream starts with its header.", field="header")
        scope = scope_of(first.header.tenant, first.header.collection)
        uploads: Any = assemble(_parts(request_iterator))
        async with aclosing(uploads):
            async for upload in uploads:
                outcome = await self._take_in(scope, upload)
                yield rag_v1.IngestResponse(outcome=_outcome_to_proto(outcome))

    async def _take_in(self, scope: Scope, upload: Uploaded) -> Outcome:
        start = upload.start
        if upload.problem:
            return Outcome(start.source, "skipped", message=str(upload.problem), is_bad=True)
        return await self._ingestion.ingest(scope, start.source, upload.content, start.media_type)

    async def CompareDigests(
        self, request: rag_v1.CompareDigestsRequest, context: _Context
    ) -> rag_v1.CompareDigestsResponse:
        """See the contract."""
        if len(request.documents) > MAX_COMPARED:
            raise InvalidInput(
                f"{len(request.documents):,} documents are compared; {MAX_COMPARED:,} are possible.", field="documents"
            )
        digests = {document.source: document.sha256.lower() for document in request.documents}
        unchanged = await self._ingestion.unchanged(scope_of(request.tenant, request.collection), digests)
        return rag_v1.CompareDigestsResponse(unchanged_sources=unchanged)

    async def Search(self, request: rag_v1.SearchRequest, context: _Context) -> rag_v1.SearchResponse:
        """See the contract."""
        if not 0 <= request.top_k <= MAX_TOP_K:
            raise InvalidInput(f"top_k is {request.top_k}; 1 to {MAX_TOP_K} are possible.", field="top_k")
        if request.method not in _METHODS:
            raise InvalidInput(f"There is no search method {request.method}.", field="method")
        found = await self._retriever.search(
            request.query,
            scope_of(request.tenant, request.collection),
            top_k=request.top_k or DEFAULT_TOP_K,
            method=_METHODS[request.method],
            is_by_document=request.is_by_document,
        )
        response = rag_v1.SearchResponse(
            hits=[_hit_to_proto(passage) for passage in found.passages], has_evidence=found.has_evidence
        )
        response.latency.FromTimedelta(timedelta(seconds=found.latency_s))
        return response

    async def ListDocuments(
        self, request: rag_v1.ListDocumentsRequest, context: _Context
    ) -> rag_v1.ListDocumentsResponse:
        """See the contract."""
        if not 0 <= request.page_size <= MAX_PAGE:
            raise InvalidInput(f"page_size is {request.page_size}; 1 to {MAX_PAGE} are possible.", field="page_size")
        size = request.page_size or DEFAULT_PAGE
        scope = scope_of(request.tenant, request.collection)
        after = _read_token(request.page_token)
        rows = await self._database.read(
            lambda connection: list_documents(connection, scope, request.source_prefix, after, size + 1)
        )
        return rag_v1.ListDocumentsResponse(
            documents=[_document_to_proto(row) for row in rows[:size]],
            next_page_token=_make_token(rows[size - 1]) if len(rows) > size else "",
        )

    async def DeleteDocuments(
        self, request: rag_v1.DeleteDocumentsRequest, context: _Context
    ) -> rag_v1.DeleteDocumentsResponse:
        """See the contract."""
        scope = scope_of(request.tenant, request.collection)
        if request.is_whole_collection:
            return rag_v1.DeleteDocumentsResponse(deleted_count=await self._ingestion.delete_collection(scope))
        if not request.sources and not request.source_prefix:
            raise InvalidInput("Nothing is named to delete.", remedy="Give sources or a prefix.", field="sources")
        count = await self._ingestion.delete(scope, list(request.sources), request.source_prefix)
        return rag_v1.DeleteDocumentsResponse(deleted_count=count)


def scope_of(tenant: str, collection: str) -> Scope:
    """Whose documents; empty names mean "default". Raises `InvalidInput` for names that are none."""
    for field, name in (("tenant", tenant), ("collection", collection)):
        if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise InvalidInput(f"{field} is not a printable name of at most {MAX_NAME_CHARACTERS}.", field=field)
    return Scope(tenant or DEFAULT, collection or DEFAULT)


async def _parts(requests: AsyncIterator[rag_v1.IngestRequest]) -> AsyncIterator[DocumentStart | bytes]:
    async for request in requests:
        match request.WhichOneof("part"):
            case "document":
                item = request.document
                yield DocumentStart(item.source, item.media_type, item.size_bytes, item.sha256)
            case "data":
                yield request.data
            case "header":
                raise InvalidInput("An ingest stream has one header only.", field="header")
            case _:
                raise InvalidInput("A message of the ingest stream is empty.", field="part")


def _outcome_to_proto(outcome: Outcome) -> rag_v1.DocumentOutcome:
    return rag_v1.DocumentOutcome(
        source=outcome.source,
        state=_STATES[outcome.state],
        chunk_count=outcome.chunk_count,
        document_count=outcome.document_count,
        message=outcome.message,
        reason=common_v1.ERROR_REASON_BAD_DOCUMENT if outcome.is_bad else common_v1.ERROR_REASON_UNSPECIFIED,
    )


def _hit_to_proto(passage: FoundPassage) -> rag_v1.Hit:
    stored = passage.stored
    return rag_v1.Hit(
        chunk_id=str(stored.chunk_id),
        document_id=stored.key or stored.source,
        source=stored.source,
        title=stored.title,
        start_line=stored.chunk.start_line,
        end_line=stored.chunk.end_line,
        page=stored.chunk.page,
        text=stored.chunk.text,
        score=passage.score,
        lexical_rank=passage.lexical_rank,
        dense_rank=passage.dense_rank,
    )


def _document_to_proto(row: StoredDocument) -> rag_v1.Document:
    document = rag_v1.Document(
        document_id=row.key or row.source,
        source=row.source,
        title=row.title,
        media_type=row.media_type,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        chunk_count=row.chunk_count,
    )
    document.ingest_time.FromMilliseconds(row.ingest_time_ms)
    return document


def _make_token(row: StoredDocument) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.source, row.key]).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    if not token:
        return "", ""
    try:
        source, key = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        source = key = None
    if not isinstance(source, str) or not isinstance(key, str):
        raise InvalidInput("page_token is not one of ours.", field="page_token")
    return source, key
