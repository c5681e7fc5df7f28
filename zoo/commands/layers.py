"""zoo layers: export every public Keras layer, and say how each came out."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import TYPE_CHECKING

from zoo.commands import add_json, print_json
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.layers.case import Case
    from zoo.layers.measure import Outcome

SUMMARY = "export every public Keras layer and activation, and compare each with Keras"
EXAMPLE = "zoo layers --only 'LSTM|GRU'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose name matches")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure the cases and print a line each; exit 1 if one is wrong or needlessly refused."""
    from zoo.layers import cases
    from zoo.table import text_table

    try:
        pattern = re.compile(options.only)
    except re.error as error:
        raise UsageError(f"--only {options.only!r} is not a regular expression: {error}") from error
    chosen = [case for case in cases() if pattern.search(case.name)]
    if not chosen:
        raise UsageError(f"no case matches {options.only!r}")
    outcomes = [_outcome(case) for case in chosen]
    if options.json:
        print_json([outcome.to_json() for outcome in outcomes])
    else:
        rows = [
            [
                o.name,
                o.status,
                str(o.nodes or ""),
                f"{o.difference:.0e}" if o.nodes else "",
                o.reason,
            ]
            for o in outcomes
        ]
        print(text_table(("case", "outcome", "nodes", "largest Δ", "reason"), rows, right="llrrl"))
        counts = Counter(outcome.status for outcome in outcomes)
        print(f"\n{len(outcomes)} cases: {', '.join(f'{n} {k}' for k, n in counts.items())}")
    expected = {case.name for case in chosen if case.refused}
    return 0 if all(o.status == "ok" or o.name in expected for o in outcomes) else 1


def _outcome(case: Case) -> Outcome:
    """Measure one case; where Keras itself cannot run it on this machine, say that."""
    from zoo.layers.measure import Outcome, measure

    try:
        return measure(case)
    except Exception as error:  # whatever Keras and its backend raise
        first = str(error).strip().splitlines()[0]
        return Outcome(name=case.name, status="failed", reason=f"{type(error).__name__}: {first}")
