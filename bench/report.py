"""Medians of the interleaved repeats, ratios to ours, and a table that people can read."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

#: scenario -> server -> figure -> one value a repeat
Repeats = Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]

OURS = "ours, fast"
PACKAGES = ("grpcio", "numpy", "onnxruntime", "protobuf")


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    model = ""
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
        "load": [round(value, 2) for value in os.getloadavg()],
        **{package: metadata.version(package) for package in PACKAGES},
    }


def medians(repeats: Repeats) -> dict[str, dict[str, dict[str, float]]]:
    """Return the median of each figure."""
    return {
        scenario: {
            server: {name: statistics.median(values) for name, values in figures.items()}
            for server, figures in servers.items()
        }
        for scenario, servers in repeats.items()
    }


def ratio(rows: Mapping[str, Mapping[str, float]], server: str) -> float | None:
    """Return how many times better ours is in the scenario's first figure; None if unknown."""
    mine, theirs = rows.get(OURS), rows.get(server)
    if not mine or not theirs:
        return None
    name = next(iter(theirs))
    if name not in mine or not mine[name] or not theirs[name]:
        return None
    better = mine[name] / theirs[name]
    return better if name == "per second" else 1 / better


def table(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return one Markdown table a scenario."""
    parts = []
    for scenario, rows in found.items():
        names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
        head = ["server", *names, "ours is"]
        lines = [f"### {scenario}", "", _row(head), _row(["---", *["---:"] * (len(head) - 1)])]
        for server, figures in rows.items():
            times = ratio(rows, server)
            cells = [_figure(figures[name]) if name in figures else "" for name in names]
            better = "" if times is None or server == OURS else f"{times:.2f}x"
            lines.append(_row([server, *cells, better]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write(folder: Path, repeats: Repeats, skipped: Mapping[str, str]) -> None:
    """Write serve.json, with every repeat, and serve.md."""
    folder.mkdir(parents=True, exist_ok=True)
    found = medians(repeats)
    document = {"machine": machine(), "skipped": skipped, "medians": found, "repeats": repeats}
    (folder / "serve.json").write_text(json.dumps(document, indent=1) + "\n")
    facts = machine()
    head = (
        f"# Serving, measured\n\n{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"CPython {facts['python']}, onnxruntime {facts['onnxruntime']}, grpcio {facts['grpcio']}, "
        f"{facts['date']}. Server on one core, load on another; one thread a model; medians of "
        "interleaved repeats. `make bench` repeats it; only ratios within one run mean anything.\n\n"
    )
    missing = "".join(f"- {name}: {why}\n" for name, why in skipped.items())
    if missing:
        head += f"Not measured:\n\n{missing}\n"
    (folder / "serve.md").write_text(head + table(found))
