"""Write the stubs of zoo_proto from the .proto files beside this script: `make proto`.

Two things differ from plain protoc output, and each is an anchored rewrite that must match:

* protoc writes absolute imports relative to its include root; ours become relative ones.
* The messages live in one private DescriptorPool (zoo_proto/_pool.py) instead of the process-wide
  default. tritonclient and TensorFlow register the same file and symbol names there, and a second
  registration with other bytes aborts the import.

The generator is pinned (dependency group `proto`): what it writes decides the oldest protobuf and
grpcio that can load the stubs.
"""

import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).parent
PACKAGE = SOURCE / "zoo_proto"
DEFAULT_POOL = (
    r"^from google\.protobuf import descriptor_pool as _descriptor_pool$",
    r"from zoo_proto._pool import POOL as _POOL",
)
USE_OF_POOL = (r"^DESCRIPTOR = _descriptor_pool\.Default\(\)\.Add", r"DESCRIPTOR = _POOL.Add")


def main() -> int:
    """Generate into a temporary folder, rewrite, and only then replace the committed files."""
    protos = sorted(path.name for path in SOURCE.glob("*.proto"))
    include = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        status = protoc.main(
            [
                "protoc",
                f"-I{SOURCE}",
                f"-I{include}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                f"--grpc_python_out={folder}",
                *protos,
            ]
        )
        if status != 0:
            return int(status)
        written = {path.name: _rewritten(path, protos) for path in Path(folder).iterdir()}
    if "--check" in sys.argv[1:]:
        return _check(written)
    for stale in PACKAGE.glob("*_pb2*"):
        stale.unlink()
    for name, text in sorted(written.items()):
        (PACKAGE / name).write_text(text)
    return 0


def _check(written: dict[str, str]) -> int:
    """Say which committed files differ from what the generator writes; 1 if any does."""
    committed = {path.name: path.read_text() for path in PACKAGE.glob("*_pb2*")}
    names = sorted(committed.keys() | written.keys())
    differing = [name for name in names if committed.get(name) != written.get(name)]
    if differing:
        sys.stderr.write(
            f"run `make proto`: not what the generator writes: {', '.join(differing)}\n"
        )
    return 1 if differing else 0


def _rewritten(path: Path, protos: list[str]) -> str:
    """Return one generated module with our imports and our pool."""
    text = path.read_text()
    for proto in protos:
        module = f"{Path(proto).stem}_pb2"
        text = re.sub(
            rf"^import {module} as", f"from zoo_proto import {module} as", text, flags=re.MULTILINE
        )
    if path.name.endswith("_pb2.py"):
        for pattern, replacement in (DEFAULT_POOL, USE_OF_POOL):
            text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
            if count != 1:
                raise SystemExit(f"{path.name}: expected one match of {pattern}, found {count}")
    if path.name.endswith("_pb2_grpc.py") and "class " not in text:
        text = (
            f'"""{Path(path.name).stem.removesuffix("_pb2_grpc")}.proto declares no service."""\n'
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
