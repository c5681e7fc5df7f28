"""zoo top: a running server's models, live: rate, latency, queue and memory."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from zoo.commands.ps import DROPPED, RIGHT, add_metrics, cells, header, reading
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.client.metrics import Metrics, ModelFigures

SUMMARY = "watch a running server's models: rate, latency, queue, memory, provider; Ctrl-C ends it"
EXAMPLE = "zoo top --interval 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_metrics(parser)
    parser.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="between two readings (default: %(default)g)",
    )


def run(options: argparse.Namespace) -> int:
    """Show the figures of the last interval until Ctrl-C; busiest models first."""
    if options.interval <= 0:
        raise UsageError(f"--interval {options.interval:g}: give more than 0 seconds")
    if not sys.stdout.isatty():
        raise UsageError("zoo top needs a terminal: `zoo ps` prints the figures once")
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from zoo.terminal.tables import styled_table

    before = reading(options.metrics)
    live = Live(console=Console(highlight=False), screen=True, auto_refresh=False)
    with suppress(KeyboardInterrupt), live:
        while True:
            size = shutil.get_terminal_size()
            time.sleep(options.interval)
            now = reading(options.metrics)
            table = rows(before, now)
            title = Text(
                f"{options.metrics}  {len(table)} models  "
                f"{sum(float(row[2]) for row in table):.0f} requests/s  "
                f"{now.memory / 1e6:.0f} MB  Ctrl-C ends",
                style="dim", no_wrap=True, overflow="ellipsis",
            )  # fmt: skip
            shown = table[: max(size.lines - 4, 1)]
            live.update(
                Group(
                    title,
                    Text(),
                    styled_table(
                        header("req/s"), shown, width=size.columns, right=RIGHT, dropped=DROPPED
                    ),
                ),
                refresh=True,
            )
            before = now
    return 0


def rows(before: Metrics, now: Metrics) -> list[list[str]]:
    """Return a row a version for the time between two readings, the busiest first."""
    seconds = max(now.seconds - before.seconds, 1e-9)
    recent: list[tuple[tuple[str, str], ModelFigures]] = []
    for key, figures in now.models.items():
        earlier = before.models.get(key)
        # A server that was started again counts from nothing.
        restarted = earlier is None or earlier.requests > figures.requests
        recent.append((key, figures if earlier is None or restarted else figures.since(earlier)))
    recent.sort(key=lambda item: (-item[1].requests, item[0]))
    return [
        [*key, f"{figures.requests / seconds:.1f}", *cells(figures)[1:]] for key, figures in recent
    ]
