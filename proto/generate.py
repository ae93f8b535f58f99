"""Generates shared/gen from the contracts: what `make proto` runs.

protoc writes imports that start at the proto root. Rewritten to start at `shared.gen`, the generated code is an
ordinary package and nothing has to be put on the import path.
"""

import re
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTO_ROOT = Path(__file__).resolve().parent
GENERATED = PROTO_ROOT.parent / "shared" / "gen"
IMPORTS = re.compile(r"^(from|import) waystation\b", re.MULTILINE)
QUALIFIED = re.compile(r"(?<![\w./\"'-])waystation\.(?=\w+\.v\d+\.\w+_pb2)")


def generate(target: Path) -> None:
    """Write modules, type stubs and packages for every contract under `target`, replacing what is there.

    Until all of it is made, `target` stays as it is.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".gen-") as folder:
        fresh = Path(folder) / target.name
        fresh.mkdir()
        _generate_into(fresh)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def _generate_into(target: Path) -> None:
    sources = sorted(str(path.relative_to(PROTO_ROOT)) for path in PROTO_ROOT.rglob("*.proto"))
    outputs = [f"--{plugin}_out={target}" for plugin in ("python", "grpc_python")]
    stubs = [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    well_known = f"-I{files('grpc_tools') / '_proto'}"
    if protoc.main(["protoc", f"-I{PROTO_ROOT}", well_known, *outputs, *stubs, *sources]) != 0:
        sys.exit("protoc failed; its message is above")
    for path in [*target.rglob("*.py"), *target.rglob("*.pyi")]:
        text = IMPORTS.sub(r"\1 shared.gen.waystation", path.read_text())
        path.write_text(QUALIFIED.sub("shared.gen.waystation.", text))
    for path in target.rglob("*_pb2_grpc.py"):
        if "Stub" not in path.read_text():
            path.unlink()
            path.with_suffix(".pyi").unlink()
    for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else GENERATED)
