"""The exception tree, and the one table that gives each class its reason, status and whether trying again can help.

    WaystationError
    ├── InvalidInput            a field is empty, malformed or out of range
    │   ├── UnknownWorkflow
    │   └── BadDocument
    ├── NotFound
    ├── AlreadyExists
    ├── WrongState              the thing's state does not permit this
    │   ├── ApprovalRequired
    │   ├── GraphChanged
    │   ├── IdempotencyMismatch
    │   ├── ModelMissing
    │   ├── ModelCorrupt
    │   ├── SandboxUnavailable
    │   └── StorageUnavailable
    ├── Conflict                somebody else was first, or must decide
    │   ├── StaleEpoch
    │   ├── ThreadBusy
    │   ├── CrashLoop
    │   └── InDoubt
    ├── Unavailable             may work later
    │   ├── PeerUnavailable
    │   ├── ModelUnavailable
    │   └── Draining
    ├── DeadlineExceeded
    ├── Cancelled
    ├── LimitExceeded
    ├── Forbidden
    ├── Unauthenticated
    ├── DataLoss
    │   ├── StorageCorrupt
    │   └── CommitsMissing
    ├── NotBuilt
    └── InternalError           somebody broke the contract, possibly we
        ├── PeerProtocol
        └── ModelNonsense

On the wire an error is a `google.rpc.Status` with an `ErrorInfo` (AIP-193); a client raises the same class again.
This module imports no grpc: status codes are given by name.
"""

from dataclasses import dataclass

from shared.telemetry.redaction import redacted, redactor

DOMAIN = "waystation"


class WaystationError(Exception):
    """The base: a sentence that names the thing, a remedy, and plain facts about it.

    All of it is sent to the caller, so that secrets which a cause may have brought along are taken out here.
    """

    def __init__(self, message: str, *, remedy: str = "", **metadata: object) -> None:
        self.message = redacted(message)
        super().__init__(self.message)
        self.remedy = redacted(remedy)
        self.metadata = redactor().attributes({key: str(value) for key, value in metadata.items()})

    @property
    def reason(self) -> str:
        """The name in `ErrorReason`, without its prefix."""
        return row_of(type(self)).reason

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed when it is made again."""
        return row_of(type(self)).is_retryable

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InvalidInput(WaystationError): ...


class UnknownWorkflow(InvalidInput): ...


class BadDocument(InvalidInput): ...


class NotFound(WaystationError): ...


class AlreadyExists(WaystationError): ...


class WrongState(WaystationError): ...


class ApprovalRequired(WrongState): ...


class GraphChanged(WrongState): ...


class IdempotencyMismatch(WrongState): ...


class ModelMissing(WrongState): ...


class ModelCorrupt(WrongState): ...


class SandboxUnavailable(WrongState): ...


class StorageUnavailable(WrongState): ...


class Conflict(WaystationError): ...


class StaleEpoch(Conflict): ...


class ThreadBusy(Conflict): ...


class CrashLoop(Conflict): ...


class InDoubt(Conflict): ...


class Unavailable(WaystationError): ...


class PeerUnavailable(Unavailable): ...


class ModelUnavailable(Unavailable): ...


class Draining(Unavailable): ...


class DeadlineExceeded(WaystationError): ...


class Cancelled(WaystationError): ...


class LimitExceeded(WaystationError): ...


class Forbidden(WaystationError): ...


class Unauthenticated(WaystationError): ...


class DataLoss(WaystationError): ...


class StorageCorrupt(DataLoss): ...


class CommitsMissing(DataLoss): ...


class NotBuilt(WaystationError): ...


class InternalError(WaystationError): ...


class PeerProtocol(InternalError): ...


class ModelNonsense(InternalError): ...


@dataclass(frozen=True)
class ErrorRow:
    """What the wire says of one exception class."""

    error: type[WaystationError]
    reason: str
    """The name in `ErrorReason`, without its prefix."""
    status: str
    """The name of the gRPC status code."""
    is_retryable: bool = False


TABLE = (
    ErrorRow(InvalidInput, "INVALID_INPUT", "INVALID_ARGUMENT"),
    ErrorRow(UnknownWorkflow, "UNKNOWN_WORKFLOW", "INVALID_ARGUMENT"),
    ErrorRow(BadDocument, "BAD_DOCUMENT", "INVALID_ARGUMENT"),
    ErrorRow(NotFound, "NOT_FOUND", "NOT_FOUND"),
    ErrorRow(AlreadyExists, "ALREADY_EXISTS", "ALREADY_EXISTS"),
    ErrorRow(WrongState, "WRONG_STATE", "FAILED_PRECONDITION"),
    ErrorRow(ApprovalRequired, "APPROVAL_REQUIRED", "FAILED_PRECONDITION"),
    ErrorRow(GraphChanged, "GRAPH_CHANGED", "FAILED_PRECONDITION"),
    ErrorRow(IdempotencyMismatch, "IDEMPOTENCY_MISMATCH", "FAILED_PRECONDITION"),
    ErrorRow(ModelMissing, "MODEL_MISSING", "FAILED_PRECONDITION"),
    ErrorRow(ModelCorrupt, "MODEL_CORRUPT", "FAILED_PRECONDITION"),
    ErrorRow(SandboxUnavailable, "SANDBOX_UNAVAILABLE", "FAILED_PRECONDITION"),
    ErrorRow(StorageUnavailable, "STORAGE_UNAVAILABLE", "FAILED_PRECONDITION"),
    ErrorRow(StaleEpoch, "STALE_EPOCH", "ABORTED"),
    ErrorRow(ThreadBusy, "THREAD_BUSY", "ABORTED", is_retryable=True),
    ErrorRow(CrashLoop, "CRASH_LOOP", "ABORTED"),
    ErrorRow(InDoubt, "IN_DOUBT", "ABORTED"),
    ErrorRow(PeerUnavailable, "PEER_UNAVAILABLE", "UNAVAILABLE", is_retryable=True),
    ErrorRow(ModelUnavailable, "MODEL_UNAVAILABLE", "UNAVAILABLE", is_retryable=True),
    ErrorRow(Draining, "DRAINING", "UNAVAILABLE", is_retryable=True),
    ErrorRow(DeadlineExceeded, "DEADLINE", "DEADLINE_EXCEEDED", is_retryable=True),
    ErrorRow(Cancelled, "CANCELLED", "CANCELLED"),
    ErrorRow(LimitExceeded, "LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", is_retryable=True),
    ErrorRow(Forbidden, "FORBIDDEN", "PERMISSION_DENIED"),
    ErrorRow(Unauthenticated, "UNAUTHENTICATED", "UNAUTHENTICATED"),
    ErrorRow(StorageCorrupt, "STORAGE_CORRUPT", "DATA_LOSS"),
    ErrorRow(CommitsMissing, "COMMITS_MISSING", "DATA_LOSS"),
    ErrorRow(NotBuilt, "NOT_BUILT", "UNIMPLEMENTED"),
    ErrorRow(PeerProtocol, "PEER_PROTOCOL", "INTERNAL"),
    ErrorRow(ModelNonsense, "MODEL_NONSENSE", "INTERNAL", is_retryable=True),
    ErrorRow(InternalError, "INTERNAL", "INTERNAL"),
)

_BY_CLASS = {row.error: row for row in TABLE}
_BY_REASON = {row.reason: row for row in TABLE}


def row_of(error: type[WaystationError]) -> ErrorRow:
    """Return the row of the class or of its nearest ancestor that has one."""
    for cls in error.__mro__:
        if cls in _BY_CLASS:
            return _BY_CLASS[cls]
    return _BY_CLASS[InternalError]


def error_from_reason(reason: str, message: str, metadata: dict[str, str]) -> WaystationError:
    """Rebuild the exception that a peer raised; an unknown reason becomes `InternalError`."""
    row = _BY_REASON.get(reason, _BY_CLASS[InternalError])
    error = row.error(message, remedy=metadata.get("remedy", ""))
    error.metadata = redactor().attributes({key: value for key, value in metadata.items() if key != "remedy"})
    return error
