"""Sends documents to the rag service: only those that changed, in pieces, each with its digest."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from services.cli.mesh import calling
from services.cli.walk import FoundFile, PassedOver
from shared.pb import rag_v1

PIECE_BYTES = 1024 * 1024
COMPARE_BATCH = 1_000
COMPARE_TIMEOUT_S = 30.0
INGEST_TIMEOUT_S = 24 * 3600.0


@dataclass(frozen=True)
class Outcome:
    """What became of one document."""

    source: str
    state: str
    """"added", "replaced", "unchanged" or "skipped"."""
    message: str = ""
    chunk_count: int = 0
    document_count: int = 0


class Upload:
    """One ingest. `on_outcome` hears of each document as soon as it is decided."""

    def __init__(
        self, rag: "rag_v1.RagServiceAsyncStub", collection: str, on_outcome: Callable[[Outcome], None]
    ) -> None:
        self._rag = rag
        self._collection = collection
        self._on_outcome = on_outcome

    async def run(self, files: Sequence[FoundFile | PassedOver]) -> None:
        """Compare, then send what is new. Raises what the service raises for the whole of it."""
        for file in files:
            if isinstance(file, PassedOver):
                self._on_outcome(Outcome(file.source, "skipped", file.message))
        changed: list[FoundFile] = []
        found = [file for file in files if isinstance(file, FoundFile)]
        for start in range(0, len(found), COMPARE_BATCH):
            changed += await self._changed(found[start : start + COMPARE_BATCH])
        if not changed:
            return
        with calling("rag"):
            call = self._rag.Ingest(self._requests(changed), timeout=INGEST_TIMEOUT_S)
            async for response in call:
                self._on_outcome(outcome_of(response.outcome))

    async def _changed(self, files: Sequence[FoundFile]) -> list[FoundFile]:
        request = rag_v1.CompareDigestsRequest(collection=self._collection)
        digested = []
        for file in files:
            if content := self._read(file):
                request.documents.append(_header(file, content))
                digested.append(file)
        with calling("rag"):
            response = await self._rag.CompareDigests(request, timeout=COMPARE_TIMEOUT_S)
        unchanged = set(response.unchanged_sources)
        for file in digested:
            if file.source in unchanged:
                self._on_outcome(Outcome(file.source, "unchanged"))
        return [file for file in digested if file.source not in unchanged]

    async def _requests(self, files: Sequence[FoundFile]) -> AsyncIterator[rag_v1.IngestRequest]:
        header = rag_v1.IngestHeader(collection=self._collection, request_id=str(uuid.uuid4()))
        yield rag_v1.IngestRequest(header=header)
        for file in files:
            # read again: the digest must be that of the bytes that are sent
            if content := self._read(file):
                yield rag_v1.IngestRequest(document=_header(file, content))
                for piece in _pieces(content):
                    yield rag_v1.IngestRequest(data=piece)

    def _read(self, file: FoundFile) -> bytes:
        """The file's content; empty, and reported, when there is none to send."""
        try:
            content = file.path.read_bytes()
        except OSError as error:
            self._on_outcome(Outcome(file.source, "skipped", f"It cannot be read: {error.strerror}."))
            return b""
        if not content:
            self._on_outcome(Outcome(file.source, "skipped", "It is empty."))
        return content


def outcome_of(outcome: rag_v1.DocumentOutcome) -> Outcome:
    """The service's word on a document."""
    state = rag_v1.DocumentOutcome.State.Name(outcome.state).removeprefix("STATE_").lower()
    return Outcome(outcome.source, state, outcome.message, outcome.chunk_count, outcome.document_count)


def _header(file: FoundFile, content: bytes) -> rag_v1.DocumentHeader:
    digest = hashlib.sha256(content).hexdigest()
    return rag_v1.DocumentHeader(source=file.source, size_bytes=len(content), sha256=digest)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]
