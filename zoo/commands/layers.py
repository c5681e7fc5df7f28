"""zoo layers: the atlas of Keras layers, exported and compared one by one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.commands import add_json, add_modules, print_json, require_training
from zoo.errors import UsageError, did_you_mean
from zoo.terminal.messages import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.atlas.case import LayerCase, Outcome

SUMMARY = "export every Keras layer with its options, and compare each with Keras"
EXAMPLE = "zoo layers --only '^LSTM'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="measure only cases whose name matches"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE.md", help="write the table as a Markdown page"
    )
    add_modules(parser, "measure the CASES of this file, layers of your own, in place of the atlas")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; exit 1 if a case went otherwise than the atlas expects."""
    require_training("`zoo layers`")
    from zoo.atlas.isolated import COMMAND, measure_isolated
    from zoo.atlas.page import page
    from zoo.terminal.progress import CommandProgress

    chosen = matching(options.only, options.modules)
    command = (*COMMAND, *map(str, options.modules))
    outcomes = []
    with CommandProgress(len(chosen), "layers") as overall:
        overall.begin("starting TensorFlow")
        for outcome in measure_isolated([case.name for case in chosen], command):
            outcomes.append(outcome)
            overall.begin(outcome.name)
            overall.end()
    if options.markdown:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(
            page(outcomes, {}, f"zoo layers --markdown {options.markdown.name}")
        )
    if options.json:
        print_json([outcome.to_json() for outcome in outcomes])
    else:
        _print(outcomes)
    unexpected = [
        item.name for case, item in zip(chosen, outcomes, strict=True) if not item.expected_of(case)
    ]
    if unexpected:
        say(f"not as the atlas expects: {', '.join(unexpected)}", failed=True)
    return 1 if unexpected else 0


def matching(pattern: str, files: Sequence[Path] = ()) -> list[LayerCase]:
    """Return the cases whose name matches, of the atlas or of these files; raises UsageError if there are none.

    A case's own name does too, though as a regular expression it may match nothing: `LSTM[stateful]`.
    """
    from zoo.atlas import cases, cases_of

    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--only {pattern!r} is not a regular expression: {error}") from error
    known = cases_of(files) or cases()
    chosen = [case for case in known if compiled.search(case.name) or case.name == pattern]
    if not chosen:
        names = [case.name for case in known]
        shown = ", ".join(names[:3]) + ("" if len(names) <= 3 else ", …")
        hint = did_you_mean(pattern, names) or f"cases are named {shown}"
        raise UsageError(f"no case matches {pattern!r}: {hint}")
    return chosen


def _print(outcomes: Sequence[Outcome]) -> None:
    """Print one line a case, then the reasons of those that are not right, and the total."""
    from zoo.atlas.page import delta
    from zoo.terminal.tables import print_table

    rows = [[item.name, item.status, str(item.nodes or ""), delta(item)] for item in outcomes]
    print_table(("case", "outcome", "nodes", "largest Δ"), rows, right="llrr", dropped=("nodes",))
    for item in outcomes:
        if item.status != "ok":
            print(f"{item.name}: {item.reason}")
    print(f"{sum(item.status == 'ok' for item in outcomes)} of {len(outcomes)} right")
