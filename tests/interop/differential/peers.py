"""Both servers, started on loopback: ours, and Triton out of its wheel."""

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import grpc

from bench.environments import PeerUnavailable
from bench.servers import TRITON, free_port
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc

SECONDS = 120

#: Of both; more than the cases fill.
CACHE = "local,size=10000000"


class Peer(ABC):
    """One server, started again if a request has ended it."""

    def __init__(self, name: str, work: Path) -> None:
        self.name = name
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self.ends = 0

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return arguments and environment; the ports are in `grpc_port` and `http_port`."""

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.grpc_port, self.http_port, self.metrics_port = free_port(), free_port(), free_port()
        arguments, env = self.command()
        log = self._work / f"{self.name}.log"
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                arguments,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,  # a group of its own, of which nothing is left behind
            )
        # Messages as large as the servers take, so that neither library cuts a case short.
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{self.grpc_port}",
            [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
        )
        self.stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(self.channel)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.is_running():
            try:
                if self.stub.ServerReady(pb.ServerReadyRequest(), timeout=2).ready:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.1)
        self.stop()
        raise PeerUnavailable(f"{self.name} did not become ready:\n{log.read_text()[-3000:]}")

    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def has_ended(self) -> bool:
        """After a call without an answer: has it ended the process? If so, start it again."""
        try:
            assert self._process is not None
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            return False
        self.ends += 1
        self._clear()
        self.start()
        return True

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._clear()

    def _clear(self) -> None:
        """Let go of the connection, and end what a server that died has left running."""
        self.channel.close()
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Ours(Peer):
    """`zoo serve`."""

    def __init__(self, repository: Path, work: Path) -> None:
        super().__init__("ours", work)
        self._repository = repository

    def command(self) -> tuple[list[str], dict[str, str]]:
        zoo = str(Path(sys.executable).with_name("zoo"))
        ports = ["--grpc-port", str(self.grpc_port), "--http-port", str(self.http_port)]
        options = [
            "--metrics-port", "off", "--server-name", "triton", "--allow-shared-memory",
            "--cache-config", CACHE,
        ]  # fmt: skip
        return [zoo, "serve", str(self._repository), *ports, *options], {}


class Triton(Peer):
    """The tritonserver of the nvidia-pytriton wheel; PeerUnavailable if it cannot be had."""

    def __init__(self, repository: Path, work: Path) -> None:
        super().__init__("triton", work)
        self._repository = repository
        self._python = TRITON.python()
        self._packages = next((self._python.parents[1] / "lib").glob("python3*/site-packages"))
        self._root = self._packages / "pytriton" / "tritonserver"
        if not (self._root / "bin" / "tritonserver").exists():
            raise PeerUnavailable("triton: the wheel holds no tritonserver for this platform")
        self._segments = f"layer-zoo-differential-{os.getpid()}-"
        self._backends = work / "backends"
        shutil.copytree(self._root / "backends", self._backends)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = next((self._root / "python_backend_stubs" / version).iterdir())
        shutil.copy(stub, self._backends / "python" / stub.name)

    def command(self) -> tuple[list[str], dict[str, str]]:
        arguments = [
            str(self._root / "bin" / "tritonserver"), "--model-repository", str(self._repository),
            "--backend-directory", str(self._backends), "--grpc-port", str(self.grpc_port),
            "--http-port", str(self.http_port), "--metrics-port", str(self.metrics_port),
            "--cache-directory", str(self._root / "caches"), "--cache-config", CACHE,
            "--backend-config", f"python,shm-region-prefix-name={self._segments}",
        ]  # fmt: skip
        return arguments, {
            "LD_LIBRARY_PATH": str(self._packages / "nvidia_pytriton.libs"),
            "DIFFERENTIAL_SITE_PACKAGES": str(self._packages),
            "PATH": f"{self._python.parent}:/usr/bin:/bin",
        }

    def _clear(self) -> None:
        super()._clear()
        for segment in Path("/dev/shm").glob(f"{self._segments}*"):
            segment.unlink(missing_ok=True)
