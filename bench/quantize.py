"""The time that published smaller variants take beside fp32, at batch 1 and 64, in onnxruntime.

    python -m bench.quantize --repository models        every model that has smaller variants
    python -m bench.quantize cnn_digits10 --json times.json

Publish them first: `zoo export cnn_digits10 --quantize auto`. What is published never depends on a
time, so times are taken here. The sessions of a model run in turn (bench/race.py), and a variant's
time is given in units of fp32's time of the same round.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.race import race

if TYPE_CHECKING:
    from zoo.parity.compare import Arrays

#: The file that the others are compared with.
BASE = "fp32"

#: One request, and a full batch of a busy server.
BATCHES = (1, 64)

#: Processor time of each file and batch.
SECONDS = 0.5

#: Share of repetitions in which the interval of a ratio is to hold the true median.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A time in units of fp32's: the median over rounds, and its interval of 95 % or more."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Ratio:
    """Return the median and an interval that holds the true one, without assuming a distribution.

    Between the k-th smallest and the k-th largest of n values the true median lies unless fewer
    than k fall on one side of it: a binomial chance (the sign test's interval).
    """
    ordered, n = sorted(values), len(values)
    outside, k = 0.0, 0
    while k < n // 2:
        outside += 2 * math.comb(n, k) / 2**n
        if outside > 1 - CONFIDENCE:
            break
        k += 1
    at = max(k - 1, 0)
    return Ratio(median=statistics.median(ordered), low=ordered[at], high=ordered[n - 1 - at])


def variant_times(folder: Path) -> list[dict[str, Any]]:
    """Time the smaller variants in a version's folder beside its model.onnx, on its test vectors.

    Returns one record a variant and batch; nothing where there is no smaller variant.
    """
    from zoo.parity.runtimes import OnnxRuntime
    from zoo.parity.vectors import read_vectors
    from zoo.quantize.decision import KINDS

    paths = {kind: folder / f"model.{kind}.onnx" for kind in KINDS}
    paths = {BASE: folder / "model.onnx"} | {k: path for k, path in paths.items() if path.is_file()}
    if len(paths) == 1:
        return []
    cases = read_vectors(paths[BASE])
    rows = max((case.feeds for case in cases), key=lambda feeds: len(next(iter(feeds.values()))))
    records = []
    for batch in BATCHES:
        feeds = _first_rows(rows, batch)
        openers = {
            kind: lambda path=path, feeds=feeds: partial(OnnxRuntime().load(path), feeds)
            for kind, path in paths.items()
        }
        times = race(openers, SECONDS)
        for kind in [kind for kind in paths if kind != BASE]:
            ratios = [a / b for a, b in zip(times[kind], times[BASE], strict=True)]
            records.append(
                {
                    "variant": kind,
                    "batch": batch,
                    "microseconds": statistics.median(times[kind]) * 1e6,
                    "fp32_microseconds": statistics.median(times[BASE]) * 1e6,
                    "ratio": asdict(median_interval(ratios)),
                }
            )
    return records


def _first_rows(rows: Arrays, batch: int) -> Arrays:
    """Return the first rows, over again if there are too few."""
    return {name: array.take(range(batch), axis=0, mode="wrap") for name, array in rows.items()}


def _row(record: Mapping[str, Any]) -> list[str]:
    ratio = record["ratio"]
    return [
        record["model"],
        record["variant"],
        str(record["batch"]),
        f"{record['fp32_microseconds']:.1f}",
        f"{record['microseconds']:.1f}",
        f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})",
    ]


def main() -> int:
    """Time each model's variants and print the table; exit 1 if there is none to time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--repository", type=Path, default=Path("models"), metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the records there")
    options = parser.parse_args()
    from zoo.table import text_table
    from zoo_server.repository import layout

    records = []
    for name in options.models or sorted(path.name for path in options.repository.glob("[!.]*")):
        folder = options.repository / name
        versions = layout.version_numbers(folder)
        if not versions:
            parser.error(f"{folder} has no published version")
        times = variant_times(folder / str(max(versions)))
        records += [{"model": name, "version": max(versions), **record} for record in times]
    if not records:
        print("no smaller variants: publish them with `zoo export MODEL --quantize auto`")
        return 1
    header = ("model", "variant", "batch", "fp32 µs", "µs", "of fp32's time")
    print(text_table(header, [_row(record) for record in records], right="llrrrr"))
    if options.json is not None:
        options.json.write_text(json.dumps(records, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
