"""How each server is started; all serve the same files over gRPC's ModelInfer."""

import json
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.environments import Environment, Unavailable

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
ONNXRUNTIME = "onnxruntime==1.32.0"

TRITON = Environment(name="triton", packages=("nvidia-pytriton==0.7.0", ONNXRUNTIME, "numpy<2"))
MLSERVER = Environment(name="mlserver", packages=("mlserver==1.7.1", ONNXRUNTIME))
KSERVE = Environment(name="kserve", packages=("kserve==0.21.0", ONNXRUNTIME))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A server to be started."""

    arguments: Sequence[str]
    port: int
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One row of the tables."""

    name: str
    #: Given the repository and a folder to work in; Unavailable if it cannot be had here.
    command: Callable[[Path, Path], Command]
    #: Answers with the message it was sent.
    echoes: bool = False


def free_port() -> int:
    """Return a port that nobody uses just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ours(transport: str) -> Callable[[Path, Path], Command]:
    def command(repository: Path, _: Path) -> Command:
        port = free_port()
        zoo = Path(sys.executable).with_name("zoo")
        listens = ["--grpc-port", str(port), "--http-port", "0", "--metrics-port", "0"]
        options = ["--transport", transport, "--threads", "1", "--log-level", "warning"]
        return Command(
            arguments=[str(zoo), "serve", str(repository), *listens, *options], port=port
        )

    return command


def _program(name: str, *more: str) -> Callable[[Path, Path], Command]:
    def command(repository: Path, _: Path) -> Command:
        port = free_port()
        where = [] if name == "fast_echo" else [str(repository)]
        program = str(PROGRAMS / f"{name}.py")
        return Command(
            arguments=[sys.executable, program, str(port), *where, *more],
            port=port,
            env={"PYTHONPATH": f"{HERE.parent}:{HERE.parent / 'proto'}"},
        )

    return command


def _triton(repository: Path, work: Path) -> Command:
    python = TRITON.python()
    packages = next((python.parents[1] / "lib").glob("python3*/site-packages"))
    root = packages / "pytriton" / "tritonserver"
    if not (root / "bin" / "tritonserver").exists():
        raise Unavailable("triton: the wheel holds no tritonserver for this platform")
    models = work / "triton"
    shutil.copytree(repository, models)
    for folder in models.iterdir():
        config = folder / "config.pbtxt"
        text = config.read_text().replace('"onnxruntime"', '"python"')
        config.write_text(text + _triton_tensors(folder.name))
        shutil.copyfile(PROGRAMS / "triton_model.py", folder / "1" / "model.py")
    backends = work / "backends"
    shutil.copytree(root / "backends", backends)
    stub = next((root / "python_backend_stubs" / "3.11").iterdir())
    shutil.copy(stub, backends / "python" / stub.name)
    port, http, metrics = free_port(), free_port(), free_port()
    return Command(
        arguments=[
            str(root / "bin" / "tritonserver"), "--model-repository", str(models),
            "--backend-directory", str(backends), "--grpc-port", str(port),
            "--http-port", str(http), "--metrics-port", str(metrics),
        ],
        port=port,
        env={
            "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
            "BENCH_SITE_PACKAGES": str(packages),
            "PATH": f"{python.parent}:/usr/bin:/bin",
        },
    )  # fmt: skip


def _triton_tensors(name: str) -> str:
    """Return the tensors, which the Python backend does not find out for itself."""
    tensors = {
        "tiny": (("image", "8, 8, 1"), ("probabilities", "3")),
        "mobile": (("image", "3, 224, 224"), ("scores", "1000")),
        "identity": (("x", "-1"), ("y", "-1")),
    }[name]
    return "".join(
        f'{kind} [{{ name: "{tensor}" data_type: TYPE_FP32 dims: [ {dims} ] }}]\n'
        for kind, (tensor, dims) in zip(("input", "output"), tensors, strict=True)
    )


def _mlserver(repository: Path, work: Path) -> Command:
    folder = work / "mlserver"
    folder.mkdir()
    shutil.copyfile(PROGRAMS / "mlserver_model.py", folder / "mlserver_model.py")
    port = free_port()
    settings = {
        "host": "127.0.0.1", "grpc_port": port, "http_port": free_port(),
        "metrics_port": free_port(), "parallel_workers": 0, "debug": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    for path in sorted(repository.glob("*/1/model.onnx")):
        name = path.parts[-3]
        place = folder / name
        place.mkdir()
        described = {
            "name": name,
            "implementation": "mlserver_model.OnnxModel",
            "parameters": {"uri": str(path.resolve())},
        }
        (place / "model-settings.json").write_text(json.dumps(described))
    return Command(
        arguments=[str(MLSERVER.python().with_name("mlserver")), "start", str(folder)],
        port=port,
        env={"PYTHONPATH": str(folder)},
    )


def _kserve(repository: Path, _: Path) -> Command:
    port = free_port()
    program = str(PROGRAMS / "kserve_model.py")
    return Command(
        arguments=[str(KSERVE.python()), program, str(repository), str(free_port()), str(port)],
        port=port,
    )


SERVERS = (
    Server(name="ours, fast", command=_ours("fast")),
    Server(name="ours, public", command=_ours("public")),
    Server(name="Triton 2.51, Python backend", command=_triton),
    Server(name="MLServer 1.7", command=_mlserver),
    Server(name="KServe 0.21", command=_kserve),
    Server(name="bare grpcio + session.run", command=_program("bare_grpcio")),
    Server(name="bare grpcio echo", command=_program("bare_grpcio", "echo"), echoes=True),
    Server(name="fast echo", command=_program("fast_echo"), echoes=True),
)
