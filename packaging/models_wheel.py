"""Builds the wheel `layer-zoo-models`: the published repository as data, for `zoo.load` and `zoo serve`.

    python packaging/models_wheel.py REPOSITORY OUTPUT

It holds the latest version of each model, and nothing of what `zoo export` keeps for itself.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "layer_zoo_models"

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "layer-zoo-models"
version = "{version}"
description = "The models of Layer Zoo, exported to ONNX and proven equal to Keras"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"

[tool.hatch.build.targets.wheel]
packages = ["layer_zoo_models"]
"""

README = """\
# layer-zoo-models

The published models of Layer Zoo {version}, as `zoo export` wrote them: ONNX files with manifest, model card
and test vectors, and the Keras models. `zoo.load(NAME)`, `zoo predict` and `zoo serve` find them where there is no
folder `models`. The data that each was trained on, with its licence, is in its model card.

{names}
"""


def main(repository: Path, output: Path) -> None:
    """Stage the package in a folder of its own and build it; exits with 2 for an empty repository."""
    sys.path[:0] = [str(ROOT), str(ROOT / "server"), str(ROOT / "proto")]
    from zoo.models.find import model_names
    from zoo_server.repository import layout
    from zoo_server.version import VERSION

    names = model_names(repository)
    if not names:
        raise SystemExit(f"{repository} holds no model: run `zoo export` first")
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        (stage / "pyproject.toml").write_text(PYPROJECT.format(version=VERSION))
        listed = "\n".join(f"- `{name}`" for name in names)
        (stage / "README.md").write_text(README.format(version=VERSION, names=listed))
        shutil.copy(ROOT / "LICENSE", stage)
        package = stage / PACKAGE
        package.mkdir()
        (package / "__init__.py").write_text('"""The published models of Layer Zoo, as data."""\n')
        for name in names:
            latest = str(layout.version_numbers(repository / name)[-1])
            _copy(repository / name, package / "models" / name, latest)
        command = [sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", str(output)]
        subprocess.run([*command, str(stage)], check=True)


def _copy(model: Path, target: Path, version: str) -> None:
    """Copy one version and the files beside it; hidden ones are the publisher's own."""
    target.mkdir(parents=True)
    for path in model.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, target)
    shutil.copytree(model / version, target / version)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python packaging/models_wheel.py REPOSITORY OUTPUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
