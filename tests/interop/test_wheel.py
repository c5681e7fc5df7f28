"""The wheel and the source archive, and the wheel in an environment with nothing but what it asks for."""

import re
import shlex
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Free ones: others may serve on this machine too.
PORTS = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0")

#: What a user's program looks like to a type checker.
TYPED = """\
from pathlib import Path

from zoo.client import Client
from zoo_proto.grpc_service_pb2 import ModelInferRequest
from zoo_server.config import ServerConfig

reveal_type(Client("127.0.0.1:8001").infer("dense_iris", [[5.1, 3.5, 1.4, 0.2]]))
reveal_type(ModelInferRequest().model_name)
reveal_type(ServerConfig(repository=Path("models")).grpc_port)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=cwd,
        check=False,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `python -m build` fills."""
    folder = tmp_path_factory.mktemp("dist")
    done = _run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def models_wheel(trained, dist: Path) -> Path:
    """The wheel of the published models, beside the others."""
    done = _run(
        sys.executable, ROOT / "packaging/models_wheel.py", trained.repository, dist, cwd=dist
    )
    assert done.returncode == 0, done.stderr
    (path,) = dist.glob("layer_zoo_models-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("layer_zoo-*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment into which `layer-zoo[cpu]` alone is installed."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    constraints = ROOT / "constraints.txt"
    done = _run(
        folder / "bin/python", "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[cpu]",
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_the_wheel_holds_three_typed_packages(wheel: Path) -> None:
    """`zoo`, `zoo_server`, `zoo_proto` and nothing else: a package `server` is a user's own name."""
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}

    assert packages == {"zoo", "zoo_server", "zoo_proto"}
    assert all(f"{package}/py.typed" in names for package in packages)
    assert not [name for name in names if name.endswith((".onnx", ".keras", ".pyc"))]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "web").rglob("*.*")}
    assert {f"zoo/site/{source}" for source in sources} <= set(names)


def test_the_source_archive_can_be_checked_and_tested(dist: Path) -> None:
    """It has the tests, the Makefile and the pages, and nothing that a command writes."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]

    for needed in ("Makefile", "constraints.txt", "docs/protocol.md", "tests/conftest.py"):
        assert needed in names
    assert {name.split("/")[0] for name in names} <= {
        "bench", "deploy", "docs", "packaging", "proto", "server", "tests", "web", "zoo",
        "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO",
        "README.md", "SECURITY.md", "constraints.txt", "pyproject.toml", ".gitignore",
    }  # fmt: skip


def test_the_packages_import_without_a_framework(clean: Path, tmp_path: Path) -> None:
    """Nothing of the training extra is installed, and no package `server`."""
    imported = _run(clean / "python", "-c", "import zoo, zoo_server, zoo_proto", cwd=tmp_path)
    collides = _run(clean / "python", "-c", "import server", cwd=tmp_path)
    installed = _run(clean / "python", "-m", "pip", "list", "--format=freeze", cwd=tmp_path).stdout

    assert imported.returncode == 0, imported.stderr
    assert "ModuleNotFoundError" in collides.stderr
    assert "tensorflow" not in installed
    assert "keras" not in installed


def test_a_type_checker_finds_the_types(clean: Path, tmp_path: Path) -> None:
    """mypy reads them from the installed packages."""
    (tmp_path / "typed.py").write_text(TYPED)
    done = _run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", clean / "python", "typed.py",
        cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    answer, model_name, port = (line for line in done.stdout.splitlines() if "Revealed" in line)
    assert "ndarray" in answer
    assert 'str"' in model_name
    assert 'int"' in port


def test_the_installed_command_serves_and_answers(trained, clean: Path, tmp_path: Path) -> None:
    """serve and predict work without a training framework; train says what it needs."""
    server = subprocess.Popen(
        [str(clean / "zoo"), "serve", str(trained.repository), *PORTS],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert server.stderr is not None
        ready = next(line for line in server.stderr if "ready: gRPC on" in line)
        port = ready.split("127.0.0.1:")[1].split(",")[0]
        done = _run(
            clean / "zoo", "predict", "dense_iris", "5.1,3.5,1.4,0.2", "--server", f"127.0.0.1:{port}",
            cwd=tmp_path,
        )  # fmt: skip
    finally:
        server.terminate()
        server.communicate(timeout=30)
    refused = _run(clean / "zoo", "train", "dense_iris", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2].startswith("setosa")
    assert server.returncode == 0
    assert refused.returncode == 1
    assert "pip install 'layer-zoo[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_installed_models_are_found_where_there_is_no_folder(
    clean: Path, models_wheel: Path, tmp_path: Path
) -> None:
    """README's lines as they stand: install both wheels from `dist`, and ask a model."""
    (tmp_path / "dist").symlink_to(models_wheel.parent)
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- example: install -->")[1].split("```")[1]
    install, predict = re.findall(r"^\$ (.+)$", block, re.MULTILINE)
    constrained = [*shlex.split(install)[1:], "-q", "-c", str(ROOT / "constraints.txt")]
    installed = _run(clean / "python", "-m", "pip", *constrained, cwd=tmp_path)
    prediction = _run(clean / "zoo", *shlex.split(predict)[1:], cwd=tmp_path)
    listed = _run(
        clean / "python", "-c", "import zoo; print(zoo.list_models('cnn*'))", cwd=tmp_path
    )
    served = subprocess.Popen(
        [str(clean / "zoo"), "serve", *PORTS], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    try:
        assert served.stderr is not None
        ready = next((line for line in served.stderr if "ready: gRPC on" in line), "")
    finally:
        served.terminate()
        served.communicate(timeout=30)

    assert models_wheel.stat().st_size < 3_000_000
    assert installed.returncode == 0, installed.stderr
    assert prediction.stdout.splitlines()[2].startswith("setosa"), prediction.stderr
    assert "cnn_digits10" in listed.stdout
    assert ready
