"""The card's section on parity: how near each file is to Keras, in each runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.parity.variants import variants_of
from zoo.table import markdown_table


def parity_section(manifest: Mapping[str, Any]) -> str:
    """Return how near each file is to Keras in each runtime, and what was not compared and why."""
    files = [variant for variant in variants_of(manifest) if "parity" in variant]
    rows, notes = [], []
    for variant in files:
        for runtime, version in manifest["runtimes"].items():
            for adversarial in (False, True):
                comparisons = [
                    row
                    for row in variant["parity"]
                    if row["runtime"] == runtime and row["adversarial"] == adversarial
                ]
                if comparisons:
                    rows.append(
                        [f"`{variant['file']}`", f"{runtime} {version}", *_worst(comparisons)]
                    )
        notes += _metric_and_exceptions(variant)
    tolerance = manifest["tolerance"]
    bound = (
        f"Published only because every element is within {tolerance['scaled']:g} of the largest "
        f"answer, and no row decides for another class. The reason for that bound: "
        f"{tolerance['reason']}."
    )
    header = ("file", "runtime", "rows compared", "largest Δ", "relative", "of the bound", "flips")
    table = markdown_table(header, rows, right="lllrrrr")
    return "\n\n".join([table, "\n".join(f"- {note}" for note in notes), bound])


def _worst(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the largest figures of the comparisons that count."""
    what = "adversarial: " if rows[0]["adversarial"] else "held-out and random: "
    counted = [row for row in rows if not row["not_compared"]]
    cases = len({row["case"] for row in counted})
    largest = [
        max((row[key] for row in counted), default=0.0)
        for key in ("max_abs", "max_rel", "ratio", "flips")
    ]
    delta, relative, ratio, flips = largest
    return [f"{what}{cases} cases", f"{delta:.1e}", f"{relative:.1e}", f"{ratio:.2f}", str(flips)]


def _metric_and_exceptions(variant: Mapping[str, Any]) -> list[str]:
    """Return the metric on every held-out row, and the cases that say nothing of the file."""
    measured = variant["held_out"]
    answers = ", ".join(f"{name} {value:.6g}" for name, value in measured["runtimes"].items())
    notes = [
        f"`{variant['file']}`: {measured['metric']} on all {measured['rows']} held-out rows: "
        f"Keras {measured['keras']:.6g}, {answers}"
    ]
    notes += [
        f"`{variant['file']}`: {runtime} left out: {reason}"
        for runtime, reason in variant["left_out"].items()
    ]
    reasons: dict[str, list[str]] = {}
    for row in variant["parity"]:
        if row["not_compared"]:
            seen = reasons.setdefault(row["not_compared"], [])
            place = f"{row['case']} ({row['runtime']})"
            seen += [place] if place not in seen else []
    notes += [
        f"`{variant['file']}`: not compared: {'; '.join(places)}: {reason}"
        for reason, places in reasons.items()
    ]
    return notes
