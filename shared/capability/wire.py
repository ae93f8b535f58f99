"""Between the SDK's values and the contract's messages."""

from datetime import UTC, timedelta
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct, Value

from shared.capability.outputs import (
    Artifact,
    Citation,
    Outcome,
    OutgoingMessage,
    Output,
    Result,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
)
from shared.capability.service import Descriptor, Effort, Invocation, Message
from shared.pb import capability_v1, common_v1

EFFORTS: dict[str, common_v1.Effort.ValueType] = {
    "low": common_v1.EFFORT_LOW,
    "medium": common_v1.EFFORT_MEDIUM,
    "high": common_v1.EFFORT_HIGH,
}
_EFFORT_NAMES = {value: name for name, value in EFFORTS.items()}
_OUTCOMES: dict[Outcome, capability_v1.Result.Outcome.ValueType] = {
    "answered": capability_v1.Result.OUTCOME_ANSWERED,
    "no_answer": capability_v1.Result.OUTCOME_NO_ANSWER,
    "incomplete": capability_v1.Result.OUTCOME_INCOMPLETE,
    "degraded": capability_v1.Result.OUTCOME_DEGRADED,
}
_OUTCOME_NAMES = {value: name for name, value in _OUTCOMES.items()}


def effort_name(effort: common_v1.Effort.ValueType) -> Effort:
    """The effort's name; what is unspecified or unknown is "medium"."""
    return cast(Effort, _EFFORT_NAMES.get(effort, "medium"))


def descriptor_to_proto(descriptor: Descriptor) -> capability_v1.Descriptor:
    """The message for a descriptor."""
    return capability_v1.Descriptor(
        name=descriptor.name,
        tags=descriptor.tags,
        description=descriptor.description,
        examples=descriptor.examples,
        version=descriptor.version,
        roles=descriptor.roles,
        is_idempotent=descriptor.is_idempotent,
    )


def descriptor_from_proto(message: capability_v1.Descriptor) -> Descriptor:
    """The descriptor in a message."""
    return Descriptor(
        name=message.name,
        description=message.description,
        tags=tuple(message.tags),
        examples=tuple(message.examples),
        version=message.version,
        roles=tuple(message.roles),
        is_idempotent=message.is_idempotent,
    )


def artifact_to_proto(artifact: Artifact) -> common_v1.Artifact:
    """The message for an artifact."""
    return common_v1.Artifact(
        artifact_id=artifact.id,
        kind=artifact.kind,
        name=artifact.name,
        media_type=artifact.media_type,
        text=artifact.text,
        metadata=dict(artifact.metadata),
    )


def artifact_from_proto(message: common_v1.Artifact) -> Artifact:
    """The artifact in a message."""
    return Artifact(
        message.artifact_id, message.kind, message.name, message.media_type, message.text, dict(message.metadata)
    )


def message_from_proto(message: common_v1.A2aMessage) -> Message:
    """The message of an inbox."""
    return Message(
        message_id=message.message_id,
        sender_role=message.sender_role,
        recipient_role=message.recipient_role,
        payload=json_value(message.payload),
        sequence=message.sequence,
        hop_index=message.hop_index,
        in_reply_to=message.in_reply_to,
    )


def json_value(message: Struct | Value) -> Any:
    """A protobuf Struct or Value as plain JSON data, whole numbers as int."""
    return _whole(MessageToDict(message))


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def invocation_from_proto(request: capability_v1.InvokeRequest) -> Invocation:
    """The invocation in a request."""
    return Invocation(
        task=request.task,
        role=request.role,
        inbox=tuple(message_from_proto(item) for item in request.inbox),
        context=tuple(artifact_from_proto(item) for item in request.context),
        effort=effort_name(request.effort),
        max_output_tokens=request.budget.max_output_tokens,
        remaining_hops=request.budget.remaining_hops,
        thread_id=request.ids.thread_id,
        run_id=request.ids.run_id,
        tenant=request.ids.tenant or "default",
        idempotency_key=request.ids.idempotency_key,
        hop_index=request.ids.hop_index,
        guarded_tools=tuple(request.guarded_tools),
        approved_tool_calls=tuple(request.approved_tool_calls),
    )


def output_to_proto(output: Output) -> capability_v1.InvokeResponse:
    """The message for an output."""
    wrap = capability_v1.InvokeResponse
    match output:
        case TextDelta():
            return wrap(text_delta=capability_v1.TextDelta(text=output.text))
        case ToolCall():
            arguments = Struct()
            arguments.update(dict(output.arguments))
            return wrap(tool_call=capability_v1.ToolCall(tool_call_id=output.id, name=output.name, arguments=arguments))
        case ToolResult():
            return wrap(
                tool_result=capability_v1.ToolResult(
                    tool_call_id=output.id, name=output.name, content=output.content, is_error=output.is_error
                )
            )
        case OutgoingMessage():
            return wrap(message=_outgoing_to_proto(output))
        case Artifact():
            return wrap(artifact=artifact_to_proto(output))
        case Citation():
            return wrap(citation=common_v1.Citation(**vars(output)))
        case Usage():
            return wrap(usage=usage_to_proto(output))
        case Result():
            return wrap(result=result_to_proto(output))


def result_to_proto(result: Result) -> capability_v1.Result:
    """The message for a result."""
    return capability_v1.Result(text=result.text, outcome=_OUTCOMES[result.outcome], is_replayed=result.is_replayed)


def usage_to_proto(usage: Usage) -> common_v1.Usage:
    """The message for a usage."""
    message = common_v1.Usage(
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        calls=usage.calls,
    )
    message.time_to_first_token.FromTimedelta(timedelta(seconds=usage.time_to_first_token_s))
    message.duration.FromTimedelta(timedelta(seconds=usage.duration_s))
    return message


def output_from_proto(message: capability_v1.InvokeResponse) -> Output | None:
    """The output in a message; None for a kind that is not known here."""
    match message.WhichOneof("output"):
        case "text_delta":
            return TextDelta(message.text_delta.text)
        case "tool_call":
            call = message.tool_call
            return ToolCall(call.tool_call_id, call.name, MessageToDict(call.arguments))
        case "tool_result":
            result = message.tool_result
            return ToolResult(result.tool_call_id, result.name, result.content, result.is_error)
        case "message":
            return _outgoing_from_proto(message.message)
        case "artifact":
            return artifact_from_proto(message.artifact)
        case "citation":
            item = message.citation
            return Citation(
                item.number,
                item.source,
                item.title,
                item.start_line,
                item.end_line,
                item.page,
                item.quote,
                item.chunk_id,
                item.score,
            )
        case "usage":
            return _usage_from_proto(message.usage)
        case "result":
            outcome = _OUTCOME_NAMES.get(message.result.outcome, "answered")
            return Result(message.result.text, outcome, message.result.is_replayed)
        case _:
            return None


def _usage_from_proto(message: common_v1.Usage) -> Usage:
    return Usage(
        message.model,
        message.input_tokens,
        message.output_tokens,
        message.cached_tokens,
        message.calls,
        message.time_to_first_token.ToTimedelta().total_seconds(),
        message.duration.ToTimedelta().total_seconds(),
    )


def _outgoing_to_proto(output: OutgoingMessage) -> common_v1.A2aMessage:
    message = common_v1.A2aMessage(recipient_role=output.recipient_role, in_reply_to=output.in_reply_to)
    message.payload.update(dict(output.payload))
    if output.expire_time:
        message.expire_time.FromDatetime(output.expire_time.astimezone(UTC))
    return message


def _outgoing_from_proto(message: common_v1.A2aMessage) -> OutgoingMessage:
    return OutgoingMessage(
        recipient_role=message.recipient_role,
        payload=json_value(message.payload),
        in_reply_to=message.in_reply_to,
        expire_time=message.expire_time.ToDatetime(UTC) if message.HasField("expire_time") else None,
    )
