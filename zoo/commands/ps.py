"""zoo ps: the models of a running server, and what each did since it was loaded."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from zoo.commands import add_json, print_json

if TYPE_CHECKING:
    from zoo.client.metrics import Metrics, ModelFigures

SUMMARY = "list a running server's models: requests, latency, queue, memory, provider"
EXAMPLE = "zoo ps\n  zoo ps --metrics 127.0.0.1:8002 --json"

DEFAULT_METRICS = "127.0.0.1:8002"

RIGHT = "lrrrrrrrrl"
DROPPED = ("version", "p95 ms", "provider", "failed", "MB", "queue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_metrics(parser)
    add_json(parser)


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Add --metrics HOST:PORT."""
    parser.add_argument(
        "--metrics",
        default=DEFAULT_METRICS,
        metavar="HOST:PORT",
        help="the server's metrics port (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Print one row a version."""
    from zoo.terminal.tables import print_table, print_text

    metrics = reading(options.metrics)
    if options.json:
        print_json(
            {
                "memory_bytes": metrics.memory,
                "models": [_json(*key, figures) for key, figures in sorted(metrics.models.items())],
            }
        )
        return 0
    rows = [[*key, *cells(figures)] for key, figures in sorted(metrics.models.items())]
    print_table(header("requests"), rows, right=RIGHT, dropped=DROPPED)
    print()
    print_text(f"{len(rows)} models, the server's process holds {metrics.memory / 1e6:.0f} MB")
    return 0


def header(count: str) -> tuple[str, ...]:
    """Return the table's header; `count` is what is said of the requests."""
    return (
        "model",
        "version",
        count,
        "failed",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "queue",
        "MB",
        "provider",
    )


def reading(address: str) -> Metrics:
    """Read the metrics; raises CheckFailed where there is no server."""
    from zoo.client.errors import ClientError
    from zoo.client.metrics import read_metrics
    from zoo.errors import CheckFailed

    try:
        return read_metrics(address)
    except ClientError as error:
        raise CheckFailed(str(error)) from error


def cells(figures: ModelFigures) -> list[str]:
    """Return requests, failures, percentiles, queue, memory and provider as text."""
    times = [figures.percentile(share) for share in (0.5, 0.95, 0.99)]
    return [
        f"{figures.requests:.0f}",
        f"{figures.failures:.0f}",
        *("-" if time is None else f"{time / 1000:.2f}" for time in times),
        f"{figures.pending:.0f}",
        f"{figures.memory / 1e6:.1f}",
        figures.provider,
    ]


def _json(model: str, version: str, figures: ModelFigures) -> dict[str, object]:
    return {
        "model": model,
        "version": version,
        "requests": figures.requests,
        "failures": figures.failures,
        "rows": figures.rows,
        "p50_us": figures.percentile(0.5),
        "p95_us": figures.percentile(0.95),
        "p99_us": figures.percentile(0.99),
        "pending": figures.pending,
        "memory_bytes": figures.memory,
        "provider": figures.provider,
        "provider_nodes": figures.nodes,
    }
