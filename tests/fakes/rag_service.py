"""A fake rag service: stores digests, finds what it is told to find."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc

from shared.pb import rag_v1


@dataclass
class FakeRag(rag_v1.RagServiceServicer):
    """Keeps documents by source."""

    stored: dict[str, bytes] = field(default_factory=dict)
    hits: list[rag_v1.Hit] = field(default_factory=list)
    searches: list[rag_v1.SearchRequest] = field(default_factory=list)
    largest_piece: int = 0

    def Ingest(
        self, request_iterator: Iterator[rag_v1.IngestRequest], context: grpc.ServicerContext
    ) -> Iterator[rag_v1.IngestResponse]:
        assert next(request_iterator).WhichOneof("part") == "header"
        header, content = None, b""
        for request in request_iterator:
            if request.WhichOneof("part") == "document":
                if header:
                    yield self._store(header, content)
                header, content = request.document, b""
            else:
                self.largest_piece = max(self.largest_piece, len(request.data))
                content += request.data
        if header:
            yield self._store(header, content)

    def CompareDigests(
        self, request: rag_v1.CompareDigestsRequest, context: grpc.ServicerContext
    ) -> rag_v1.CompareDigestsResponse:
        digests = {source: hashlib.sha256(content).hexdigest() for source, content in self.stored.items()}
        same = [item.source for item in request.documents if digests.get(item.source) == item.sha256]
        return rag_v1.CompareDigestsResponse(unchanged_sources=same)

    def Search(self, request: rag_v1.SearchRequest, context: grpc.ServicerContext) -> rag_v1.SearchResponse:
        kept = rag_v1.SearchRequest()
        kept.CopyFrom(request)
        self.searches.append(kept)
        return rag_v1.SearchResponse(hits=self.hits, has_evidence=True)

    def _store(self, header: rag_v1.DocumentHeader, content: bytes) -> rag_v1.IngestResponse:
        outcome = rag_v1.DocumentOutcome(source=header.source, chunk_count=1)
        if header.sha256 != hashlib.sha256(content).hexdigest() or b"\0" in content:
            outcome.state, outcome.message = rag_v1.DocumentOutcome.STATE_SKIPPED, "It is binary."
        else:
            known = header.source in self.stored
            outcome.state = rag_v1.DocumentOutcome.STATE_REPLACED if known else rag_v1.DocumentOutcome.STATE_ADDED
            self.stored[header.source] = content
        return rag_v1.IngestResponse(outcome=outcome)
