"""zoo bench: how fast a published model answers on this machine, or on a server."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from zoo.commands import add_json, add_published_model, print_json, require_export
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.models.interface import Array
    from zoo.models.model import Model

SUMMARY = "measure how fast a published model answers, here or on a running server"
EXAMPLE = "zoo bench cnn_digits10\n  zoo bench cnn_digits10 --server 127.0.0.1:8001 --batches 1,64"

#: What a dimension of any size has in the rows that are measured.
OPEN_SIZE = 16

#: Answers that are thrown away first: caches and threads are not warm yet.
WARM_UP = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_published_model(parser)
    parser.add_argument(
        "--batches",
        default="1,8,64",
        metavar="N,...",
        help="rows in one request (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how long each batch is measured (default: %(default)g)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Ask one request after the other, from one thread, and print what each batch took."""
    from zoo.models.model import load

    batches = _batches(options.batches)
    if options.seconds <= 0:
        raise UsageError(f"--seconds {options.seconds:g}: give more than 0")
    require_export(options)
    begin = time.perf_counter()
    with load(options.model, repository=options.repository, server=options.server) as model:
        loading = time.perf_counter() - begin
        if not all(spec.batched for spec in model.inputs):
            batches = [1]
        measured = [(rows, measure(model, rows, options.seconds)) for rows in batches]
    if options.json:
        print_json(
            {
                "model": model.name,
                "server": options.server,
                "load_seconds": loading,
                "batches": [{"rows": n} | figures(n, times) for n, times in measured],
            }
        )
    else:
        _print(model.name, options.server, loading, measured)
    return 0


def measure(model: Model, rows: int, seconds: float) -> Array:
    """Return the seconds that each request of so many random rows took."""
    import numpy as np

    feeds = _feeds(model, rows)
    for _ in range(WARM_UP):
        model.run(feeds)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        model.run(feeds)
        times.append(time.perf_counter() - begin)
    return np.array(times)


def figures(rows: int, times: Array) -> dict[str, float]:
    """Return the number of requests, percentiles in milliseconds, and rows a second."""
    import numpy as np

    p50, p99 = np.percentile(times, (50, 99)) * 1000
    return {
        "requests": len(times),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "rows_per_second": float(rows * len(times) / times.sum()),
    }


def _batches(text: str) -> list[int]:
    try:
        batches = [int(part) for part in text.split(",")]
    except ValueError:
        batches = []
    if not batches or min(batches) < 1:
        raise UsageError(f"--batches {text}: give numbers of rows, like 1,8,64")
    return batches


def _feeds(model: Model, rows: int) -> dict[str, Array]:
    """Return random rows of a model's types; the time that a row takes seldom depends on its values."""
    import numpy as np

    generator = np.random.default_rng(0)
    feeds = {}
    for spec in model.inputs:
        if spec.dtype == object:
            raise UsageError(
                f"{model.name}: its input {spec.name} takes words, which are not made up"
            )
        dims = [OPEN_SIZE if size < 0 else size for size in spec.dims]
        shape = [rows, *dims] if spec.batched else dims
        feeds[spec.name] = generator.uniform(0, 2, shape).astype(spec.dtype)
    return feeds


def _print(
    name: str, server: str | None, loading: float, measured: list[tuple[int, Array]]
) -> None:
    from zoo.terminal.tables import print_table, print_text

    where = f"through {server}" if server else "in this process, with onnxruntime"
    print_text(f"{name} {where}; ready after {loading * 1000:.0f} ms; one request at a time")
    rows = []
    for batch, times in measured:
        of = figures(batch, times)
        rows.append(
            [
                str(batch),
                f"{of['requests']:.0f}",
                f"{of['p50_ms']:.3f}",
                f"{of['p99_ms']:.3f}",
                f"{of['rows_per_second']:.0f}",
            ]
        )
    header = ("rows", "requests", "p50 ms", "p99 ms", "rows/s")
    print_table(header, rows, right="rrrrr", dropped=("requests", "p99 ms"))
