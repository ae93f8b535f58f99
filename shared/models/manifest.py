"""The list of models Waystation knows: which file, which sum, which licence, and where to get it."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.errors import NotFound

DATA = Path(__file__).parent / "data"
EMBEDDING_MODEL = "all-minilm-l6-v2"
CHAT_MODEL = "qwen2.5-coder-1.5b-instruct"
LOW_EFFORT_CHAT_MODEL = "qwen2.5-coder-0.5b-instruct"


@dataclass(frozen=True)
class Parts:
    """A model file cut into Python packages, each with one `data/*.bin`, to be joined in order."""

    package: str
    """The packages' name, with `{number}` counting from one."""
    version: str
    count: int

    def requirements(self) -> tuple[str, ...]:
        """What pip is asked for, in the order of joining."""
        return tuple(f"{self.package.format(number=n)}=={self.version}" for n in range(1, self.count + 1))


@dataclass(frozen=True)
class ModelEntry:
    """One model file."""

    name: str
    file: str
    """The file's name, without a folder."""
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""
    licence: str
    use: str
    is_bundled: bool = False
    """Whether the file comes with the code and need not be pulled."""
    hub_url: str = ""
    parts: Parts | None = None


@dataclass(frozen=True)
class Manifest:
    """All models, in the order they are listed to people."""

    models: tuple[ModelEntry, ...]

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self.models)

    def entry(self, name: str) -> ModelEntry:
        """Return the model called `name`; raises NotFound with the known names."""
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise NotFound(f"There is no model {name!r} in the manifest.", remedy=f"Known models: {known}.", known=known)


def load_manifest(path: Path = DATA / "manifest.toml") -> Manifest:
    """Read a manifest file; raises OSError, tomllib.TOMLDecodeError or TypeError when it is not one."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    models = []
    for table in document["models"]:
        parts = table.pop("parts", None)
        models.append(ModelEntry(**table, parts=Parts(**parts) if parts else None))
    return Manifest(tuple(models))
