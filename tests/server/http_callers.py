"""A server in this process, asked over HTTP."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from zoo_server.config import ServerConfig
from zoo_server.server import Server, running


@dataclass(frozen=True)
class HttpAnswer:
    """What came back; `json` of an empty or binary body fails."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        return self.json["error"]


#: The server closes a connection that was idle for 75 s, and a caller shared by the tests of several
#: files may have been: one that rested for so long asks on a new one.
_RESTED_SECONDS = 60


class HttpCaller:
    """Asks over HTTP, one connection at a time."""

    def __init__(self, address: str, timeout: float = 30) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=timeout)
        self._last = time.monotonic()

    def ask(
        self, method: str, path: str, body: bytes | list[bytes] | None = None, **headers: str
    ) -> HttpAnswer:
        """Ask; header names with _ for -; a body in pieces is sent in chunks."""
        return self.ask_as_named(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def ask_as_named(
        self, method: str, path: str, body: bytes | list[bytes] | None, named: dict[str, str]
    ) -> HttpAnswer:
        """Ask with headers of these very names."""
        now = time.monotonic()
        if now - self._last > _RESTED_SECONDS:
            self._connection.close()  # the next request opens it again
        self._last = now
        self._connection.request(method, path, body, named)
        answer = self._connection.getresponse()
        return HttpAnswer(answer.status, answer.headers, answer.read())

    def get(self, path: str, **headers: str) -> HttpAnswer:
        return self.ask("GET", path, **headers)

    def close(self) -> None:
        self._connection.close()


class Rest(HttpCaller):
    """A running server in this process."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.http_address)
        self.server = server

    def infer(self, model: str, request: object, data: bytes = b"", **headers: str) -> HttpAnswer:
        """Ask with a JSON header, and bytes behind it if there are any."""
        header = json.dumps(request).encode()
        if data:
            headers["Inference_Header_Content_Length"] = str(len(header))
        return self.ask("POST", f"/v2/models/{model}/infer", header + data, **headers)

    def metrics(self) -> str:
        """Return the page of metrics."""
        connection = http.client.HTTPConnection(self.server.metrics_address, timeout=30)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        page = answer.read().decode()
        connection.close()
        return page


@contextmanager
def rest_server(path: Path, **options: Any) -> Iterator[Rest]:
    """Serve a repository in this process with HTTP and metrics, and connect to it."""
    # No gallery: one may lie where the tests are started.
    ports = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    options = {**ports, "drain_seconds": 2.0, "site": None, **options}
    with running(ServerConfig(repository=path, **options)) as server:
        rest = Rest(server)
        try:
            yield rest
        finally:
            rest.close()
