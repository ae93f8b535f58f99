"""The tools that every installation has."""

from collections.abc import Callable
from datetime import UTC, datetime

from services.tools.addresses import HostGuard
from services.tools.builtin.calculator import Calculate
from services.tools.builtin.database import QueryDatabase
from services.tools.builtin.dates import AddTime, ConvertTime, CurrentTime, TimeBetween, Weekday
from services.tools.builtin.files import ListFiles, ReadFile, SearchFiles
from services.tools.builtin.units import ConvertUnits
from services.tools.builtin.web import FetchUrl
from services.tools.folders import AllowedFolders
from services.tools.registry import ToolRegistry


def utc_now() -> datetime:
    """The time now, with its zone."""
    return datetime.now(UTC)


def builtin_tools(folders: AllowedFolders, guard: HostGuard, clock: Callable[[], datetime] = utc_now) -> ToolRegistry:
    """A registry of the built-in tools, in the order in which they are offered."""
    return ToolRegistry(
        [
            Calculate(),
            Weekday(clock),
            TimeBetween(clock),
            AddTime(clock),
            ConvertTime(clock),
            CurrentTime(clock),
            ConvertUnits(),
            ListFiles(folders),
            ReadFile(folders),
            SearchFiles(folders),
            QueryDatabase(folders),
            FetchUrl(guard),
        ]
    )
