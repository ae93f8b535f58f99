"""The coding service's settings."""

from datetime import timedelta

import pytest

from services.coding.settings import CodingSettings
from shared.errors import InvalidInput


def test_limits_come_from_the_environment() -> None:
    limits = CodingSettings.load({"WAYSTATION_CODING_WALL_TIME_S": "2.5", "WAYSTATION_CODING_MEMORY_MB": "128"}).limits
    assert (limits.wall_time, limits.memory_bytes) == (timedelta(seconds=2.5), 128 * 2**20)


@pytest.mark.parametrize(
    ("name", "value"), [("WALL_TIME_S", "0"), ("MEMORY_MB", "1"), ("MAX_SANDBOXES", "0"), ("OUTPUT_KB", "many")]
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"WAYSTATION_CODING_{name}"):
        CodingSettings.load({f"WAYSTATION_CODING_{name}": value})
