"""How each server is started; all serve the same files over gRPC's ModelInfer, one thread a model."""

import functools
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.environments import Environment, PeerUnavailable
from bench.repository import MODELS, configuration

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
ZOO = Path(sys.executable).with_name("zoo")
ONNXRUNTIME = "onnxruntime==1.32.0"

# Triton's Python backend is compiled against numpy 1.
TRITON = Environment(
    name="triton", packages=("nvidia-pytriton==0.7.0", ONNXRUNTIME, "numpy==1.26.4")
)
MLSERVER = Environment(name="mlserver", packages=("mlserver==1.7.1", ONNXRUNTIME))
KSERVE = Environment(name="kserve", packages=("kserve==0.21.0", ONNXRUNTIME))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A server to be started."""

    arguments: Sequence[str]
    port: int
    env: Mapping[str, str] = field(default_factory=dict)
    #: The prefix of its segments in /dev/shm, if it makes any.
    shared_memory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One row of the tables."""

    name: str
    #: Given the repository and a folder to work in; PeerUnavailable if it cannot be had here.
    command: Callable[[Path, Path], Command]
    #: Answers with the message it was sent.
    echoes: bool = False
    #: Whether its repository asks for dynamic batching.
    joins: bool = True
    environment: Environment | None = None
    #: It is ours, and is also started with the published models.
    serves_zoo: bool = False


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@functools.cache
def _zoo_help() -> str:
    done = subprocess.run([str(ZOO), "serve", "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def _ours(transport: str) -> Callable[[Path, Path], Command]:
    def command(repository: Path, _: Path) -> Command:
        port = free_port()
        known = _zoo_help()
        if "--transport" not in known:
            raise PeerUnavailable("this `zoo serve` has no --transport")
        options = ["--transport", transport, "--threads", "1", "--log-level", "warning"]
        options += ["--grpc-port", str(port), "--http-port", "0", "--metrics-port", "0"]
        return Command(arguments=[str(ZOO), "serve", str(repository), *options], port=port)

    return command


def _program(name: str, *more: str) -> Callable[[Path, Path], Command]:
    """Return a program of ours that runs in our own environment."""

    def command(repository: Path, _: Path) -> Command:
        port = free_port()
        program = [sys.executable, str(PROGRAMS / f"{name}.py"), str(port)]
        return Command(
            arguments=[*program, str(repository), *more],
            port=port,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
        )

    return command


def _triton(repository: Path, work: Path) -> Command:
    python = TRITON.python()
    packages = TRITON.site_packages
    root = packages / "pytriton" / "tritonserver"
    if not (root / "bin" / "tritonserver").exists():
        raise PeerUnavailable("the wheel holds no tritonserver for this platform")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = sorted((root / "python_backend_stubs" / version).glob("*"))
    if not stubs:
        raise PeerUnavailable(f"the wheel's Python backend knows no Python {version}")
    models, backends = work / "triton", work / "backends"
    shutil.copytree(repository, models)
    for model in MODELS:
        text = configuration(model, backend="python")
        (models / model.name / "config.pbtxt").write_text(text)
        shutil.copyfile(PROGRAMS / "triton_model.py", models / model.name / "1" / "model.py")
    shutil.copytree(root / "backends" / "python", backends / "python")
    shutil.copy(stubs[0], backends / "python" / stubs[0].name)
    port = free_port()
    segments = f"layer_zoo_bench_{port}_"
    return Command(
        arguments=[
            str(root / "bin" / "tritonserver"), "--model-repository", str(models),
            "--backend-directory", str(backends), "--grpc-port", str(port),
            "--grpc-address", "127.0.0.1", "--allow-http", "false", "--allow-metrics", "false",
            "--backend-config", f"python,shm-region-prefix-name={segments}",
        ],
        port=port,
        shared_memory=segments,
        env={
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "BENCH_SITE_PACKAGES": str(packages),
            "PATH": f"{python.parent}:/usr/bin:/bin",
        },
    )  # fmt: skip


def _mlserver(repository: Path, work: Path) -> Command:
    folder = work / "mlserver"
    folder.mkdir()
    shutil.copyfile(PROGRAMS / "mlserver_model.py", folder / "mlserver_model.py")
    port = free_port()
    settings = {
        "host": "127.0.0.1", "grpc_port": port, "http_port": free_port(),
        "metrics_port": free_port(), "parallel_workers": 0, "debug": False,
        "grpc_max_message_length": -1,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    for model in MODELS:
        path = repository / model.name / "1" / "model.onnx"
        (folder / model.name).mkdir()
        described = {
            "name": model.name,
            "implementation": "mlserver_model.OnnxModel",
            "parameters": {"uri": str(path.resolve())},
        }
        (folder / model.name / "model-settings.json").write_text(json.dumps(described))
    return Command(
        arguments=[str(MLSERVER.python()), "-m", "mlserver.cli.main", "start", str(folder)],
        port=port,
        env={"PYTHONPATH": str(folder)},
    )


def _kserve(repository: Path, _: Path) -> Command:
    port = free_port()
    program = [str(KSERVE.python()), str(PROGRAMS / "kserve_model.py")]
    return Command(
        arguments=[*program, str(repository), str(free_port()), str(port)],
        port=port,
    )


FAST, PUBLIC = "ours, fast", "ours, public"
TRITON_PYTHON, MLSERVER_PYTHON, KSERVE_PYTHON = (
    "Triton 2.51, Python backend", "MLServer 1.7", "KServe 0.21",
)  # fmt: skip
BARE, BARE_ECHO, FAST_ECHO = "grpcio and session.run", "grpcio echo", "fast echo"
#: Not a server: the limit of all of them.
IN_PROCESS = "session.run in process"


def in_process_name(rows: int) -> str:
    """Return the limit's name, with so many rows a run."""
    return f"{IN_PROCESS}, {rows} {'row' if rows == 1 else 'rows'}"


SERVERS = (
    Server(name=FAST, command=_ours("fast"), serves_zoo=True),
    Server(name="ours, fast, no batching", command=_ours("fast"), joins=False),
    Server(name=PUBLIC, command=_ours("public"), serves_zoo=True),
    Server(name=TRITON_PYTHON, command=_triton, environment=TRITON),
    Server(name=MLSERVER_PYTHON, command=_mlserver, environment=MLSERVER),
    Server(name=KSERVE_PYTHON, command=_kserve, environment=KSERVE),
    Server(name=BARE, command=_program("bare_grpcio")),
    Server(name=BARE_ECHO, command=_program("bare_grpcio", "echo"), echoes=True),
    Server(name=FAST_ECHO, command=_program("fast_echo"), echoes=True),
)
