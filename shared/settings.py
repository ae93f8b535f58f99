"""Settings: one frozen model per process, read once from the environment and an optional waystation.toml.

A field `port` of the section `agent` is looked for as `WAYSTATION_AGENT_PORT`, then `WAYSTATION_PORT`, then `port`
under `[agent]` in waystation.toml, then `port` at its top, where only what every process has can stand. The file is the
one named by `WAYSTATION_CONFIG`, else `waystation.toml` in the working folder, if there is one.
"""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from shared.errors import InvalidInput

DEFAULT_DOORS = {"agent": 7410, "control": 7400, "rag": 7420, "coding": 7430, "tools": 7440, "models": 7450}
"""The port of each process; `control` also serves HTTP at 7480."""
CLIENT_KEYS = ("address",)
"""What a process's section may hold for its clients."""


class Settings(BaseModel):
    """What every process needs to know. Subclasses set `section` and add fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: ClassVar[str] = ""
    is_whole: ClassVar[bool] = True
    """False in a client's view of a process, which passes over the keys that it does not need."""

    home: Path = Field(default_factory=lambda: user_data_path("waystation"))
    """Where everything lives: stores, models, logs."""
    host: str = "127.0.0.1"
    """The address to bind."""
    port: int = Field(default=0, ge=0, le=65535)
    """The gRPC door; 0 takes any free port."""
    advertise_host: str = ""
    """The host under which others reach this process; empty means `host`."""
    control_address: str = f"127.0.0.1:{DEFAULT_DOORS['control']}"
    """Where the control plane is; empty means that there is none."""
    otlp_endpoint: str = ""
    """Where spans go, as host:port; empty means the control plane."""
    tracing: bool = True
    """Whether spans are made at all."""
    model_url: str = f"http://127.0.0.1:{DEFAULT_DOORS['models']}/v1"
    """The OpenAI-compatible server for chat models."""
    model_name: str = "qwen2.5-coder-1.5b-instruct"
    """The chat model for medium and high effort."""
    low_effort_model_name: str = "qwen2.5-coder-0.5b-instruct"
    """The chat model for low effort."""
    model_api_key: SecretStr = SecretStr("")
    """Sent as a bearer token when it is not empty."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("home", mode="before")
    @classmethod
    def _check_home(cls, value: object) -> object:
        if value == "":  # would be the working folder
            raise ValueError("it must name a folder")
        return value

    @property
    def spans_endpoint(self) -> str:
        """Where spans go, as host:port; empty means nowhere."""
        return self.otlp_endpoint or self.control_address

    @property
    def secrets(self) -> list[str]:
        """The values of all secret settings that are set, for those who must not say them."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr) and value]

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Build the settings from a mapping such as `os.environ`.

        Raises `InvalidInput`, which names the variable or key, when a value is malformed or a key unknown.
        """
        document = _read_toml(environ)
        _check_keys(document, cls.section, {*cls.model_fields, *CLIENT_KEYS} if cls.is_whole else None)
        values, origins = {}, {}
        for name in cls.model_fields:
            found = _find(name, cls.section, environ, document)
            if found:
                origins[name], values[name] = found
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = str(first["loc"][0]) if first["loc"] else "?"
            origin = origins.get(field, field)
            raise InvalidInput(f"Setting {origin} is bad: {first['msg']}.", setting=origin) from None


def _read_toml(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("WAYSTATION_CONFIG")
    path = Path(named or "waystation.toml")
    if not named and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"The settings file {path} cannot be read: {error}.", setting=str(path)) from None


def _check_keys(document: Mapping[str, Any], section: str, fields: Collection[str] | None) -> None:
    # a table that is not ours is another process's, possibly one that we have never heard of
    top = [key for key, value in document.items() if not isinstance(value, Mapping)]
    own = document.get(section, ()) if isinstance(document.get(section), Mapping) else ()
    for keys, known, prefix in ((top, set(Settings.model_fields), ""), (own, fields, f"{section}.")):
        for key in keys:
            if known is not None and key not in known:
                nearest = difflib.get_close_matches(key, known, n=1)
                raise InvalidInput(
                    f"There is no setting {prefix}{key}, which waystation.toml has.",
                    remedy=f"Is it {nearest[0]}?" if nearest else f"There are {', '.join(sorted(known))}.",
                    setting=f"{prefix}{key}",
                )


def _find(name: str, section: str, environ: Mapping[str, str], document: Mapping[str, Any]) -> tuple[str, Any] | None:
    # a hyphen, possible in a capability's name, is not possible in a variable's
    for variable in (f"WAYSTATION_{section}_{name}".upper().replace("-", "_"), f"WAYSTATION_{name}".upper()):
        if variable in environ:
            return variable, environ[variable]
    table = document.get(section)
    if isinstance(table, Mapping) and name in table:
        return f"{section}.{name} in waystation.toml", table[name]
    if name in document and not isinstance(document[name], Mapping):
        return f"{name} in waystation.toml", document[name]
    return None
