"""Writes the atlas as a page: one row a case, with the outcomes of all measured exporters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata

from zoo.atlas import ABSENT
from zoo.atlas.case import STATUSES, Outcome
from zoo.table import markdown_table

#: What decides how a case goes, besides the zoo itself.
PACKAGES = ("keras", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")

INTRODUCTION = """# The layer atlas

Every public Keras layer and activation with the options that matter, each as a small model with
random weights: exported, and compared with Keras in onnxruntime at batch 1 and 7 (or the batch
that the case fixes). Right is a difference of at most 5e-5 of the largest answer. Ours refuses
what it cannot export right, with the reason.
"""

OTHERS = """ `invalid` is a file that onnxruntime cannot load or
be fed, though the exporter reported no error; `wrong` answers otherwise than Keras. Ours computes
half precision in float32; another exporter's half precision is held against Keras's, within 2e-2.
"""


def page(outcomes: Sequence[Outcome], others: Mapping[str, Sequence[Outcome]], command: str) -> str:
    """Return the page that `command` generates.

    `others` holds other exporters' outcomes, case for case, by their names.
    """
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    rows = []
    for i, outcome in enumerate(outcomes):
        outcome_text = outcome.status if outcome.status == "ok" else f"refused: {outcome.reason}"
        row = [f"`{outcome.name}`", _cell(outcome_text), str(outcome.nodes or ""), delta(outcome)]
        for column in others.values():
            # A wrong answer is worth its size; an invalid file's message is long, and onnxruntime's.
            other = column[i]
            row.append(other.status if other.status != "ok" else f"ok, {other.nodes}")
        rows.append(row)
    header = ("case", "ours", "nodes", "largest Δ", *(f"{name} (nodes)" for name in others))
    parts = [
        INTRODUCTION.rstrip() + OTHERS if others else INTRODUCTION,
        f"This page is generated: `{command}`.\n",
        f"Measured with {used}.\n",
        _totals(outcomes, others),
        markdown_table(header, rows, right="llrr" + "l" * len(others)),
        "\nWithout a case of their own:\n",
        *(f"* `{name}`: {reason}" for name, reason in ABSENT.items()),
    ]
    return "\n".join(parts) + "\n"


def delta(outcome: Outcome) -> str:
    """Return the largest difference from Keras of a case that went right, else nothing."""
    return f"{outcome.difference:.0e}" if outcome.status == "ok" else ""


def versions() -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _totals(outcomes: Sequence[Outcome], others: Mapping[str, Sequence[Outcome]]) -> str:
    """Return how many cases each exporter did right, and how the rest went."""
    rows = []
    for name, column in {"ours": outcomes, **others}.items():
        counts = [sum(item.status == s for item in column) for s in STATUSES]
        loops = sum(item.loops > 0 for item in column if item.status == "ok")
        rows.append([name, *map(str, counts), str(loops)])
    header = ("exporter", *STATUSES, "right, with a Loop")
    return markdown_table(header, rows, right="l" + "r" * (len(STATUSES) + 1)) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
