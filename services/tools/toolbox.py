"""The tools that every installation has, in the order in which they are offered."""

from datetime import datetime
from zoneinfo import ZoneInfo

from services.tools.addresses import HostGuard
from services.tools.builtin.calculator import Calculate
from services.tools.builtin.database import QueryDatabase
from services.tools.builtin.dates import AddTime, Clock, ConvertTime, CurrentTime, TimeBetween, Weekday
from services.tools.builtin.files import ListFiles, ReadFile, SearchFiles
from services.tools.builtin.units import ConvertUnits
from services.tools.builtin.web import FetchUrl
from services.tools.folders import AllowedFolders
from services.tools.registry import ToolRegistry


def clock_of(zone: str) -> Clock:
    """A clock in the named zone, or in the machine's when the name is empty."""
    if zone:
        return lambda: datetime.now(ZoneInfo(zone))
    return lambda: datetime.now().astimezone()


def builtin_tools(folders: AllowedFolders, guard: HostGuard, clock: Clock) -> ToolRegistry:
    """A registry of the built-in tools.

    The order is part of what was measured with the default model: what comes first is picked more readily.
    """
    return ToolRegistry(
        [
            ConvertUnits(),
            Calculate(),
            Weekday(clock),
            AddTime(clock),
            TimeBetween(clock),
            ConvertTime(clock),
            CurrentTime(clock),
            ListFiles(folders),
            ReadFile(folders),
            SearchFiles(folders),
            QueryDatabase(folders),
            FetchUrl(guard),
        ]
    )
