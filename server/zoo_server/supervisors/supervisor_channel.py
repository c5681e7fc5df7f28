"""A worker's channel to its supervisor; when it closes, the worker ends."""

import os
import pickle
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

from zoo_server.errors import ServerError, ServerExiting
from zoo_server.supervisors import rpc
from zoo_server.supervisors.state import WorkerSpec


class SupervisorChannel:
    """The supervisor, as a worker sees it."""

    def __init__(self, spec: WorkerSpec, leave: Callable[[], None]) -> None:
        """`leave` is called when the supervisor wants the worker to go, or is gone itself."""
        self.spec = spec
        self._leave = leave
        self._is_orphan = False
        self._channel = grpc.insecure_channel(spec.supervisor, rpc.OPTIONS)
        threading.Thread(target=self._watch, name="supervisor", daemon=True).start()

    def call(self, method: str, *arguments: object, seconds: float = rpc.ASK_SECONDS) -> Any:
        """Ask and return the result, or raise its error; ServerExiting if there is no answer."""
        call = self._channel.unary_unary(rpc.path(method), pickle.dumps, pickle.loads)
        try:
            answer = call((self.spec.address, *arguments), timeout=seconds)
        except grpc.RpcError as error:
            raise rpc.error_of(error, ServerExiting("Server exiting")) from None
        return rpc.result_of(answer)

    def tell(self, method: str, *arguments: object) -> None:
        """Tell the supervisor; if it cannot hear, this process is about to end too."""
        with suppress(ServerError):
            self.call(method, *arguments)

    def close(self) -> None:
        """Close it; a supervisor that was killed has left its sockets behind."""
        self._channel.close()
        if self._is_orphan:
            folder = Path(self.spec.supervisor.removeprefix("unix:")).parent
            shutil.rmtree(folder, ignore_errors=True)

    def _watch(self) -> None:
        """Wait for a byte on standard input: it ends without one where the supervisor was killed."""
        self._is_orphan = not os.read(0, 1)
        self._leave()
