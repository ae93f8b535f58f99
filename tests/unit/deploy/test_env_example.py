"""The example of an .env file: real settings with their real defaults."""

import re
from pathlib import Path

import pytest

from services.agent.settings import AgentSettings
from services.cli.dashboard import DashboardSettings
from services.control.settings import ControlSettings
from services.models.settings import ModelsSettings
from services.rag.settings import RagSettings
from shared.settings import DEFAULT_DOORS, Settings

ROOT = Path(__file__).parents[3]
LINES = re.findall(r"^#?(WAYSTATION_[A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
DEFAULTS = {
    f"WAYSTATION_{prefix}{name}".upper(): field.default
    for model in (Settings, AgentSettings, ControlSettings, ModelsSettings, RagSettings, DashboardSettings)
    for name, field in model.model_fields.items()
    for prefix in ("", f"{model.section}_")
} | {f"WAYSTATION_{name}_PORT".upper(): port for name, port in DEFAULT_DOORS.items()}


@pytest.mark.parametrize(("variable", "value"), LINES)
def test_each_line_is_a_setting_with_its_default(variable: str, value: str) -> None:
    default = DEFAULTS[variable]
    shown = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
    assert value == shown


def test_every_door_is_listed() -> None:
    assert {f"WAYSTATION_{name.upper()}_PORT" for name in DEFAULT_DOORS} < {variable for variable, _ in LINES}
