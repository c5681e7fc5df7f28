"""The atlas as a page: one row a case, ours beside Keras's own export and plain tf2onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.atlas import ABSENT
from zoo.atlas.case import STATUSES, Outcome
from zoo.table import markdown_table

HEADER = ("case", "ours", "nodes", "largest Δ")

INTRODUCTION = """# The layer atlas

Every public Keras layer and activation with the options that matter, each as a small model with
random weights: exported, and compared with Keras in onnxruntime at batch 1 and 7 (or the batch
that the case fixes). Right is a difference of at most 1e-4 of the largest answer. Ours refuses
what it cannot export right, with the reason. `invalid` is a file that onnxruntime cannot load or
be fed, though the exporter reported no error; `wrong` answers otherwise than Keras. Ours computes
half precision in float32; a peer's half precision is held against Keras's, within 2e-2.

This page is generated: `zoo layers --peers --markdown docs/layers.md`.
"""


def page(
    outcomes: Sequence[Outcome],
    peers: Mapping[str, Sequence[Outcome]],
    versions: Mapping[str, str],
) -> str:
    """Return the page. `peers` holds other exporters' outcomes, case for case, by their names."""
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    parts = [INTRODUCTION, f"Measured with {used}.\n", _totals(outcomes, peers)]
    rows = []
    for i, outcome in enumerate(outcomes):
        mine = outcome.status if outcome.status == "ok" else f"refused: {outcome.reason}"
        row = [f"`{outcome.name}`", _cell(mine), str(outcome.nodes or ""), _delta(outcome)]
        for others in peers.values():
            other = others[i]
            # A wrong answer is worth its size; an invalid file's message is long, and onnxruntime's.
            row.append(other.status if other.status != "ok" else f"ok, {other.nodes}")
        rows.append(row)
    header = (*HEADER, *(f"{name} (nodes)" for name in peers))
    parts.append(markdown_table(header, rows, right="llrr" + "l" * len(peers)))
    parts.append("\nWithout a case of their own:\n")
    parts += [f"* `{name}`: {reason}" for name, reason in ABSENT.items()]
    return "\n".join(parts) + "\n"


def _totals(outcomes: Sequence[Outcome], peers: Mapping[str, Sequence[Outcome]]) -> str:
    """Return how many cases each exporter did right, and how the others went."""
    rows = []
    for name, found in {"ours": outcomes, **peers}.items():
        counts = [sum(item.status == s for item in found) for s in STATUSES]
        loops = sum(item.loops > 0 for item in found if item.status == "ok")
        rows.append([name, *map(str, counts), str(loops)])
    header = ("exporter", *STATUSES, "right, with a Loop")
    return markdown_table(header, rows, right="l" + "r" * (len(STATUSES) + 1)) + "\n"


def _delta(outcome: Outcome) -> str:
    return f"{outcome.difference:.0e}" if outcome.status == "ok" else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
