"""An S3-compatible store on this machine, moto's, behind a proxy that counts requests and spoils answers."""

from __future__ import annotations

import http.client
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

#: What the drivers find in the environment: any keys do for moto, and one try is enough.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

#: What the proxy does with a request: whether it is answered by that; else the store answers.
Fault = Callable[["Exchange"], bool]


class ObjectStore:
    """One bucket of the store, which tests write into directly and servers read through the proxy."""

    def __init__(self, driver: Any, proxy: Proxy, bucket: str) -> None:
        """`driver` reaches the store without the proxy."""
        self._proxy = proxy
        self.bucket = bucket
        proxy.requests = []
        proxy.fault = None
        self.driver = driver
        driver.call_s3("create_bucket", Bucket=bucket)

    @property
    def url(self) -> str:
        """The repository's URL, as Triton writes one with an endpoint."""
        return f"s3://127.0.0.1:{self._proxy.server_port}/{self.bucket}/models"

    def put(self, path: str, content: bytes | str) -> None:
        """Write an object of the repository, whatever its key is."""
        body = content.encode() if isinstance(content, str) else content
        key = f"models/{path}"
        self.driver.call_s3("put_object", Bucket=self.bucket, Key=key, Body=body)

    def put_empty(self, paths: Iterable[str]) -> None:
        """Write any number of empty objects, in the store's own memory."""
        store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for path in paths:
            store.put_object(self.bucket, f"models/{path}", b"")

    def copy(self, folder: Path) -> None:
        """Write all files of a folder, as other tools copy a repository."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(path.relative_to(folder).as_posix(), path.read_bytes())

    def remove(self, path: str) -> None:
        self.driver.rm(f"{self.bucket}/models/{path}", recursive=True)

    def keys(self) -> list[str]:
        """Return every key of the repository."""
        root = f"{self.bucket}/models/"
        return sorted(key.removeprefix(root) for key in self.driver.find(root.rstrip("/")))

    def reads(self) -> list[str]:
        """Return the objects that were read since the last call, sorted."""
        root = f"/{self.bucket}/models/"
        objects = [
            path.removeprefix(root).partition("?")[0]
            for method, path in self._proxy.requests
            if method == "GET" and path.startswith(root)
        ]
        self._proxy.requests.clear()
        return sorted(objects)

    def listings(self) -> list[str]:
        """Return the listings that were asked for since the last `reads`."""
        return [unquote(path) for _, path in self._proxy.requests if "list-type=2" in path]

    def fail(self, fault: Fault | None) -> None:
        """Have every request go through `fault` from now on; it answers itself, or returns False."""
        self._proxy.fault = fault


class Proxy(ThreadingHTTPServer):
    """Stands before a store."""

    daemon_threads = True

    def __init__(self, store: tuple[str, int]) -> None:
        """`store`: its host and port."""
        super().__init__(("127.0.0.1", 0), Exchange)
        self.store = store
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault | None = None
        #: Held while the store answers: moto closes an object's file when another takes its place, also one that it
        #: is reading.
        self.turn = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """A caller that went is no news."""


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    @property
    def reads_object(self) -> bool:
        """Whether an object is asked for, and no listing."""
        return self.command == "GET" and "list-type" not in self.path

    def handle_request(self) -> None:
        self.server.requests.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        if self.server.fault is None or not self.server.fault(self):
            self.forward()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request

    def forward(
        self,
        most: int | None = None,
        *,
        says: bool = False,
        meanwhile: Callable[[], None] | None = None,
    ) -> bool:
        """Answer as the store does: `most` bytes of the body; `says`: as if these were all.

        `meanwhile` is called between the store's answer and ours.
        """
        connection = http.client.HTTPConnection(*self.server.store, timeout=60)
        with self.server.turn:
            connection.request(self.command, self.path, self.body, dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        if meanwhile is not None:
            meanwhile()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        size = answer.getheader("Content-Length") if self.command == "HEAD" else len(body)
        if says:
            size = len(body[:most])
        if size is not None:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body[:most])
        if most is not None:
            self.close_connection = True
        connection.close()
        return True

    def hang_up(self) -> bool:
        """Answer nothing."""
        self.close_connection = True
        return True

    def refuse(self, status: int, code: str) -> bool:
        """Answer with an error of S3's."""
        body = f"<Error><Code>{code}</Code><Message>{code} by the test</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        return True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def proxied(store: tuple[str, int]) -> Iterator[Proxy]:
    """Run a proxy before a store."""
    proxy = Proxy(store)
    serving = threading.Thread(target=proxy.serve_forever, daemon=True)
    serving.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        serving.join()


_buckets = itertools.count(1)


@contextmanager
def running_store() -> Iterator[Callable[[], ObjectStore]]:
    """Run the store; yield what returns an empty bucket of it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto.start()
    host, port = moto.get_host_and_port()
    driver = fsspec.filesystem(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    try:
        with proxied((host, port)) as proxy:
            yield lambda: ObjectStore(driver, proxy, f"bucket{next(_buckets)}")
    finally:
        moto.stop()
