"""zoo layers: the atlas of Keras layers, exported and compared one by one."""

from __future__ import annotations

import argparse
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, print_json
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.atlas.case import Outcome

SUMMARY = "export every Keras layer with its options, and compare each with Keras"
EXAMPLE = "zoo layers --only '^LSTM' --peers"

PACKAGES = ("keras", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="only cases whose name matches"
    )
    parser.add_argument(
        "--peers", action="store_true", help="also measure Keras's own export and plain tf2onnx"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE.md", help="write the table as a page"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; exit 1 if a case went otherwise than the atlas expects."""
    from zoo.atlas import cases

    try:
        pattern = re.compile(options.only)
    except re.error as error:
        raise UsageError(f"--only {options.only!r} is not a regular expression: {error}") from error
    chosen = [case for case in cases() if pattern.search(case.name)]
    if not chosen:
        raise UsageError(f"no case of the atlas matches {options.only!r}")
    columns = _measured(chosen, options.peers)
    ours = columns.pop("ours")
    if options.markdown:
        from zoo.atlas.table import page

        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(page(ours, columns, _versions()))
    if options.json:
        values = {"ours": ours, **columns}
        print_json({name: [item.to_json() for item in found] for name, found in values.items()})
    else:
        _print(ours, columns)
    unexpected = [
        item.name for case, item in zip(chosen, ours, strict=True) if not item.expected_of(case)
    ]
    if unexpected:
        sys.stderr.write(f"zoo: not as the atlas expects: {', '.join(unexpected)}\n")
    return 1 if unexpected else 0


def _measured(chosen: list[Any], peers: bool) -> dict[str, list[Outcome]]:
    """Measure every case with every exporter, one process after the other."""
    from tqdm import tqdm

    from zoo.atlas.case import KERAS, OURS, TF2ONNX
    from zoo.atlas.isolated import measured

    names = [case.name for case in chosen]
    found: dict[str, list[Outcome]] = {}
    for exporter in (OURS, KERAS, TF2ONNX) if peers else (OURS,):
        outcomes = measured(exporter, names)
        silent = not sys.stderr.isatty()
        found[exporter] = list(
            tqdm(outcomes, exporter, total=len(names), unit="layer", disable=silent)
        )
    return found


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _print(ours: list[Outcome], peers: dict[str, list[Outcome]]) -> None:
    """Print one line a case, then the totals."""
    from zoo.table import text_table

    rows = []
    for i, item in enumerate(ours):
        others = [found[i].status for found in peers.values()]
        delta = f"{item.difference:.0e}" if item.status == "ok" else ""
        rows.append([item.name, item.status, str(item.nodes or ""), delta, *others])
    header = ("case", "ours", "nodes", "largest Δ", *peers)
    print(text_table(header, rows, right="llrr" + "l" * len(peers)))
    for item in ours:
        if item.status != "ok":
            print(f"{item.name}: {item.reason}")
    print(f"{sum(item.status == 'ok' for item in ours)} of {len(ours)} right")
