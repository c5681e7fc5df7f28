"""A repository in a bucket of a million keys: python -m bench.many_keys.

    .venv/bin/python -m bench.many_keys --keys 1000000

A minute; writes bench/results/many_keys.json. Needs `make install-dev`.

The bucket is a store's of its own that only lists: it computes the page of a thousand keys that is asked for, by
ListObjectsV2, and keeps none. So what is measured is the server's part; `--delay` has the store take so long for a page
as one over a network does. In each layout a process looks at the repository as a start and each look of poll mode do,
and lists its models, as explicit mode does at its start; time, requests and how much the process grew are reported.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from zoo_server.errors import OperatorError
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.pages import MAX_OBJECTS
from zoo_server.repository.remote.repository import RemoteRepository

RESULTS = Path(__file__).parent / "results" / "many_keys.json"

#: What boto3 wants to have; the store looks at none of it.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

#: Keys of a page, S3's own limit.
_PAGE = 1000

#: Keys of a model in the layout of many models.
_EACH = 10


class Keys(Sequence[str]):
    """Sorted keys that are computed when they are asked for."""

    def __init__(self, count: int, key: Callable[[int], str]) -> None:
        self._count = count
        self._key = key

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._key(number) for number in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._key(index)


def one_folder(count: int) -> Keys:
    """Return the keys of one folder, and of a model before and after it."""
    ends = {0: "models/a/1/model.onnx", count - 1: "models/z/1/model.onnx"}
    return Keys(count, lambda number: ends.get(number, f"models/heap/1/{number:09d}"))


def many_models(count: int) -> Keys:
    """Return the keys of models of ten files each."""
    files = ("model.onnx", *(f"part{number}" for number in range(1, _EACH)))
    return Keys(count, lambda at: f"models/m{at // _EACH:08d}/1/{files[at % _EACH]}")


def as_many_as_are_taken(_: int) -> Keys:
    """Return the keys of so many models that a look just takes them."""
    return many_models(MAX_OBJECTS)


LAYOUTS = {
    "one folder": one_folder,
    "ten keys a model": many_models,
    "ten keys a model, as many as a look takes": as_many_as_are_taken,
}


class ListingStore(ThreadingHTTPServer):
    """Answers ListObjectsV2 of keys, and every object with the same bytes."""

    daemon_threads = True

    def __init__(self, keys: Sequence[str], content: bytes = b"", delay: float = 0) -> None:
        """`delay`: seconds that a page takes."""
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.keys, self.content, self.delay = keys, content, delay
        self.pages = 0

    @property
    def url(self) -> str:
        return f"s3://127.0.0.1:{self.server_port}/bucket/models"


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ListingStore

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "list-type" not in query:
            self._answer(self.server.content, "application/octet-stream")
            return
        time.sleep(self.server.delay)
        self.server.pages += 1
        self._answer(_page(self.server.keys, self.server.content, query).encode(), "text/xml")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"etag"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _page(keys: Sequence[str], content: bytes, query: dict[str, str]) -> str:
    """Return the answer to one request: keys, and folders where there is a delimiter."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or ""
    at = max(bisect_left(keys, prefix), bisect_right(keys, after))
    rows: list[str] = []
    last = ""
    while len(rows) < _PAGE and at < len(keys) and keys[at].startswith(prefix):
        key = keys[at]
        folder, separator, _ = (
            key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        )
        if separator:
            name = prefix + folder + delimiter
            rows.append(f"<CommonPrefixes><Prefix>{quote(name)}</Prefix></CommonPrefixes>")
            last = name + "\U0010ffff"
            at = bisect_left(keys, last)
        else:
            rows.append(
                f"<Contents><Key>{quote(key)}</Key><Size>{len(content)}</Size><ETag>etag</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
            last, at = key, at + 1
    more = at < len(keys) and keys[at].startswith(prefix)
    token = f"<NextContinuationToken>{quote(last)}</NextContinuationToken>" if more else ""
    return (
        "<ListBucketResult><EncodingType>url</EncodingType>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(rows)}</ListBucketResult>"
    )


@contextmanager
def running(store: ListingStore) -> Iterator[ListingStore]:
    """Serve a store from a thread."""
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.shutdown()
        store.server_close()
        thread.join()


def look(url: str, way: str) -> dict[str, Any]:
    """Look at a repository in this process; return what it took and what came of it."""
    with tempfile.TemporaryDirectory() as cache:
        repository = RemoteRepository(RemoteAddress.parse(url), Path(cache), 1 << 30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        try:
            outcome = f"{len(repository.scan() if way == 'scan' else repository.names())} models"
        except OperatorError as error:
            outcome = str(error)
        return {
            "seconds": round(time.perf_counter() - began, 2),
            "CPU seconds": round(time.process_time() - cpu, 2),
            "grew MB": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10,
            "came": outcome.replace(url, "s3://…"),
        }


def measure(keys: Sequence[str], delay: float) -> dict[str, Any]:
    """Look in each way, each in a process of its own."""
    figures = {}
    with running(ListingStore(keys, delay=delay)) as store:
        for way in ("scan", "names"):
            store.pages = 0
            command = [sys.executable, "-m", "bench.many_keys", "--look", store.url, way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            figures[way] = {"requests": store.pages, **json.loads(done.stdout)}
    return figures


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--delay", type=float, default=0.05, metavar="S", help="of a page")
    parser.add_argument("--look", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    if options.look:
        print(json.dumps(look(*options.look)))
        return
    figures = {
        "keys": options.keys,
        "seconds of a page": options.delay,
        "load average": round(os.getloadavg()[0], 1),
        "layouts": {
            name: measure(keys(options.keys), options.delay) for name, keys in LAYOUTS.items()
        },
    }
    print(json.dumps(figures, indent=2))
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
