"""Medians of the interleaved repeats, ratios to ours, and tables that people can read."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import load
from bench.bars import BARS, MEMORY, START, START_SECONDS, Medians, better
from bench.scenarios import CALLERS, CPU, EIGHT, FOUR, ONE, ONE_BY_64, P50, PER_SECOND
from bench.servers import FAST, IN_PROCESS

#: scenario -> server -> figure -> one value a repeat
Repeats = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

_PACKAGES = ("grpcio", "numpy", "onnxruntime", "protobuf")

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


class ReportError(Exception):
    """What was asked for cannot be written."""


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load average": load_average(),
        "generator": load.generator_version(),
        **{package: metadata.version(package) for package in _PACKAGES},
    }


def load_average() -> list[float]:
    """Return how many wanted to run, over the last 1, 5 and 15 minutes; the bench itself is two."""
    return [round(value, 2) for value in os.getloadavg()]


def medians(repeats: Repeats) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median of each figure."""
    return {
        scenario: {
            server: {name: statistics.median(values) for name, values in figures.items()}
            for server, figures in servers.items()
        }
        for scenario, servers in repeats.items()
    }


def ratios(by_scenario: Medians) -> dict[str, dict[str, dict[str, float]]]:
    """Return how many times better ours is than each other server, for each figure both have."""
    compared: dict[str, dict[str, dict[str, float]]] = {}
    for scenario, rows in by_scenario.items():
        ours = rows.get(FAST, {})
        for server, figures in rows.items():
            times = {
                name: times
                for name, theirs in figures.items()
                if name in ours and (times := better(name, ours[name], theirs)) is not None
            }
            if server != FAST and times:
                compared.setdefault(scenario, {})[server] = times
    return compared


def tables(by_scenario: Medians) -> str:
    """Return one Markdown table a scenario."""
    compared = ratios(by_scenario)
    parts = []
    for scenario, rows in by_scenario.items():
        # In the order of whoever has the most: the limits have fewer figures.
        fullest = sorted(rows.values(), key=len, reverse=True)
        names = list(dict.fromkeys(name for figures in fullest for name in figures))
        lines = [f"### {scenario}", "", *_head(["server", *names, f"{FAST}, against it"])]
        for server, figures in rows.items():
            cells = [_figure(figures[name]) if name in figures else "" for name in names]
            times = compared.get(scenario, {}).get(server, {}).get(names[0])
            lines.append(_row([server, *cells, "" if times is None else f"{times:.3g}×"]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def bars(by_scenario: Medians) -> str:
    """Return the targets as a Markdown table, missed ones too."""
    lines = _head(["promise", "at least / most", "measured", "by CPU time", "kept"])
    for bar in BARS:
        value = bar.value(by_scenario)
        bound = f"{'≤' if bar.at_most else '≥'} {bar.bound:g}"
        kept = "not measured" if value is None else "yes" if bar.met(value) else "**no**"
        measured = ["" if v is None else _figure(v) for v in (value, bar.by_cpu(by_scenario))]
        lines.append(_row([bar.text, bound, *measured, kept]))
    return "\n".join(lines) + "\n"


def overview(by_scenario: Medians, facts: Mapping[str, Any]) -> str:
    """Return the page's table: one row a server, one column a measure, best throughput first."""
    heads = [
        "server", "1 in flight", "8 × 1", "4 × 8", "8 × 8", "1 × 64",
        "p50 ms at 1", "CPU µs", "MB", "start s",
    ]  # fmt: skip

    def pick(scenario: str, figure: str) -> Callable[[str], float | None]:
        return lambda server: by_scenario.get(scenario, {}).get(server, {}).get(figure)

    columns = [
        *(pick(each.name, PER_SECOND) for each in (ONE, CALLERS, FOUR, EIGHT, ONE_BY_64)),
        pick(ONE.name, P50), pick(EIGHT.name, CPU), pick(START, MEMORY), pick(START, START_SECONDS),
    ]  # fmt: skip
    rows = by_scenario.get(EIGHT.name, {})
    names = [name for name in rows if not name.startswith(IN_PROCESS)]
    names.sort(key=lambda name: -rows[name][PER_SECOND])
    lines = _head(heads)
    for name in names:
        values = [column(name) for column in columns]
        lines.append(_row([name, *("" if value is None else _figure(value) for value in values)]))
    note = (
        "The tutorial's CNN over gRPC, one row a request, requests a second (CPU at 8 × 8); server "
        f"on one core of {_machine_line(facts)}. The echoes compute nothing."
    )
    if (busy := facts["load average"][0]) > facts["cores"] / 2:
        note += (
            f" Other work ran beside it (load average {busy}): a first look, not a figure to quote."
        )
    return f"{note}\n\n" + "\n".join(lines) + "\n"


def write(folder: Path, repeats: Repeats, skipped: Mapping[str, str], facts: Any) -> None:
    """Write serve.json, with every repeat, and serve.md; each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    by_scenario = medians(repeats)
    document = {
        "machine": facts, "not measured": skipped, "medians": by_scenario, "ratios": ratios(by_scenario),
        "bars": {
            bar.text: {"bound": bar.bound, "value": bar.value(by_scenario), "by CPU": bar.by_cpu(by_scenario)}
            for bar in BARS
        },
        "repeats": repeats,
    }  # fmt: skip
    replace(folder / "serve.json", json.dumps(document, indent=1) + "\n")
    count = max(len(v) for rows in repeats.values() for f in rows.values() for v in f.values())
    head = (
        f"# Serving, measured\n\n{_machine_line(facts)}. Server on one core, load on another, one "
        f"thread a model; medians of {count} interleaved repeats; load average "
        f"{facts['load average'][0]} before, {facts['load average at the end'][0]} at the end, of "
        "which the bench itself is two. `make bench` repeats it; only ratios within one run mean "
        "anything, and those of a loaded machine little.\n\n"
    )
    missing = "".join(f"- {name}: {why}\n" for name, why in skipped.items())
    middle = f"## Not measured\n\n{missing}\n" if missing else ""
    text = f"{head}## Promises\n\n{bars(by_scenario)}\n{middle}## Figures\n\n{tables(by_scenario)}"
    replace(folder / "serve.md", text)


def into_page(page: Path, table: str) -> None:
    """Put a table between the page's markers; ReportError if it has none."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ReportError(f"{page} has no {BEGIN} … {END}: add both lines where the table shall be")
    replace(page, f"{before}{BEGIN}\n{table}{END}{after}")


def replace(path: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _machine_line(facts: Mapping[str, Any]) -> str:
    return (
        f"{facts['cpu']} ({facts['cores']} cores, Linux {facts['kernel']}, CPython "
        f"{facts['python']}, onnxruntime {facts['onnxruntime']}, grpcio {facts['grpcio']}, "
        f"{facts['date']})"
    )


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), _row(["---", *["---:"] * (len(names) - 1)])]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
