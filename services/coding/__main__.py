"""The coding process: builds everything and serves. The only file that knows all the others."""

import logging
from contextlib import AsyncExitStack

import grpc

from services.coding.capability import CodingCapability, describe_coding
from services.coding.coder import Coder
from services.coding.review_hop import ReviewHop
from services.coding.reviewer import Reviewer
from services.coding.sandbox.gate import Gate
from services.coding.sandbox.sandbox import Sandbox
from services.coding.sandbox.scratch import ScratchRoot
from services.coding.servicer import CodingServicer
from services.coding.settings import CodingSettings
from shared.capability.registration import serving
from shared.capability.serve import open_ledger, serve_capability
from shared.capability.service import Effort
from shared.errors import SandboxUnavailable, StorageUnavailable
from shared.models.chat import ChatModel, OpenAiChatModel
from shared.models.recorded_chat import RecordedChatModel
from shared.pb import coding_v1, control_v1
from shared.process import run_process

logger = logging.getLogger(__name__)

SERVICE_NAME = "waystation.coding.v1.CodingService"


async def serve(settings: CodingSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        scratch = _open_scratch(settings)
        stack.callback(scratch.close)
        sandbox = Sandbox(scratch, settings.limits, Gate(settings.max_sandboxes, settings.max_waiting))
        key = settings.model_api_key.get_secret_value()
        model = OpenAiChatModel(settings.model_url, settings.model_name, key)
        small_model = OpenAiChatModel(settings.model_url, settings.low_effort_model_name, key)
        stack.push_async_callback(model.close)
        stack.push_async_callback(small_model.close)
        coder = Coder(sandbox, settings.max_output_tokens)
        ledger = stack.enter_context(open_ledger(settings, "coding"))
        recorded, small_recorded = RecordedChatModel(model, ledger), RecordedChatModel(small_model, ledger)
        models: dict[Effort, ChatModel] = {"low": small_recorded, "medium": recorded, "high": recorded}
        reviewer = Reviewer(sandbox, settings.is_opinion_binding)
        capability = CodingCapability(describe_coding(), coder, ReviewHop(reviewer), models)
        servicer = CodingServicer(sandbox, reviewer, model)

        def add(server: grpc.aio.Server) -> None:
            coding_v1.add_CodingServiceServicer_to_server(servicer, server)

        health = await _check(sandbox)
        await serve_capability(
            settings,
            instance_id,
            capability,
            ledger=ledger,
            add_servicers=add,
            service_names=(SERVICE_NAME,),
            health=lambda: health,
        )


def _open_scratch(settings: CodingSettings) -> ScratchRoot:
    folder = settings.home / "coding" / "scratch"
    try:
        return ScratchRoot(folder)
    except OSError as error:
        raise StorageUnavailable(
            f"The scratch folder {folder} cannot be used: {error}.",
            remedy="Give this user write access to it, or set WAYSTATION_HOME.",
            path=folder,
        ) from error


async def _check(sandbox: Sandbox) -> tuple["control_v1.Health.State.ValueType", str]:
    """Without a sandbox the service serves all the same: every call says what is missing."""
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        logger.error("%s", error)
        return control_v1.Health.STATE_DEGRADED, str(error)
    return serving()


if __name__ == "__main__":
    run_process(CodingSettings, serve)
