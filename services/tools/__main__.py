"""The tools process: builds everything and serves. The only file that knows all the others."""

from contextlib import AsyncExitStack

import grpc

from services.tools.addresses import HostGuard
from services.tools.capability import ToolsCapability, describe_tools
from services.tools.folders import AllowedFolders
from services.tools.loop import LoopLimits, ToolLoop
from services.tools.servicer import ToolsServicer
from services.tools.settings import ToolsSettings
from services.tools.toolbox import builtin_tools, clock_of
from shared.capability.serve import open_ledger, serve_capability
from shared.capability.service import Effort
from shared.errors import InvalidInput, StorageUnavailable
from shared.models.chat import ChatModel, OpenAiChatModel
from shared.models.recorded_chat import RecordedChatModel
from shared.pb import tools_v1
from shared.process import run_process

SERVICE_NAME = "waystation.tools.v1.ToolsService"


async def serve(settings: ToolsSettings, instance_id: str) -> None:
    """Serve until the process is told to stop, then drain."""
    async with AsyncExitStack() as stack:
        clock = clock_of(settings.time_zone)
        guard = HostGuard(ports=settings.fetch_ports, permitted=settings.fetch_hosts)
        registry = builtin_tools(_folders(settings), guard, clock)
        key = settings.model_api_key.get_secret_value()
        model = OpenAiChatModel(settings.model_url, settings.model_name, key)
        small_model = OpenAiChatModel(settings.model_url, settings.low_effort_model_name, key)
        stack.push_async_callback(model.close)
        stack.push_async_callback(small_model.close)
        loop = ToolLoop(registry, clock, LoopLimits(steps=settings.max_steps))
        ledger = stack.enter_context(open_ledger(settings, "tools"))
        recorded, small_recorded = RecordedChatModel(model, ledger), RecordedChatModel(small_model, ledger)
        models: dict[Effort, ChatModel] = {"low": small_recorded, "medium": recorded, "high": recorded}
        capability = ToolsCapability(describe_tools(), loop, models)

        def add(server: grpc.aio.Server) -> None:
            tools_v1.add_ToolsServiceServicer_to_server(ToolsServicer(registry), server)

        await serve_capability(
            settings, instance_id, capability, ledger=ledger, add_servicers=add, service_names=(SERVICE_NAME,)
        )


def _folders(settings: ToolsSettings) -> AllowedFolders:
    for folder in settings.folders:
        if not folder.expanduser().is_dir():
            raise InvalidInput(
                f"The folder {folder} is not there.", remedy="Make it, or mend WAYSTATION_TOOLS_FOLDERS.", folder=folder
            )
    try:
        if not settings.folders:
            (settings.home / "files").mkdir(parents=True, exist_ok=True)
        return AllowedFolders(settings.roots)
    except OSError as error:
        raise StorageUnavailable(
            f"The tools' folder cannot be made: {error}.", remedy="Set WAYSTATION_TOOLS_FOLDERS."
        ) from error


if __name__ == "__main__":
    run_process(ToolsSettings, serve)
