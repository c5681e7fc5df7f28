"""The same requests to Triton 2.51 and to us; every difference is a known one, or an error.

    python -m tests.interop.differential [--only FAMILY] [--json FILE]     (or: make differential)

Triton comes from the wheel nvidia-pytriton, in an environment of its own (bench/environments.py).
Where it cannot be had, the run says so and ends with status 0. Otherwise 1 if there is a difference
that known.py does not list, or one listed there that did not show.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.environments import PeerUnavailable
from bench.process import stop_servers_on_sigterm
from tests.interop.differential import cases, models, rest_cases
from tests.interop.differential.exchange import Outcome, differs, send
from tests.interop.differential.known import KNOWN, known_difference
from tests.interop.differential.peers import Ours, Triton


@dataclass(frozen=True, slots=True)
class Row:
    """One case, both answers, in what they differ, and which known difference that is."""

    name: str
    triton: Outcome
    ours: Outcome
    difference: str
    known: str


def run(only: str, work: Path) -> list[Row]:
    """Send all cases to both; PeerUnavailable if Triton cannot be had."""
    models.write(work / "for_triton", triton=True)
    models.write(work / "for_us", triton=False)
    triton, ours = Triton(work / "for_triton", work), Ours(work / "for_us", work)
    rows = []
    try:
        triton.start()
        ours.start()
        for case in [*cases.all_cases(), *rest_cases.all_cases()]:
            if case.name.startswith(only):
                theirs, own = send(triton, case), send(ours, case)
                difference = differs(theirs, own)
                known = known_difference(case.name, difference, theirs, own) if difference else ""
                rows.append(Row(case.name, theirs, own, difference, known))
        if ours.ends:
            raise AssertionError("a request ended our process")
    finally:
        triton.stop()
        ours.stop()
    return rows


def report(rows: list[Row], complete: bool) -> int:
    """Print what differs; return the exit status."""
    unknown = [row for row in rows if row.difference and not row.known]
    for row in unknown:
        print(f"{row.difference:6} {row.name}")
        for who, outcome in (("Triton", row.triton), ("ours", row.ours)):
            answer = "" if outcome.answer is None else json.dumps(outcome.answer)[:400]
            print(f"       {who:6} {outcome.code} {outcome.text[:300]} {answer}")
    known = Counter(row.known for row in rows if row.known)
    for name, count in sorted(known.items()):
        print(f"known  {count:4} x {name}")
    missing = sorted(set(KNOWN) - set(known)) if complete else []
    for name in missing:
        print(f"listed as known, but did not show: {name}")
    same = sum(not row.difference for row in rows)
    print(
        f"{len(rows)} requests: {same} the same, {sum(known.values())} differ for a known reason, "
        f"{len(unknown)} for none"
    )
    return 1 if unknown or missing else 0


def main() -> int:
    """Run what the command line asks for."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="only cases whose names begin so")
    parser.add_argument("--json", type=Path, help="write every case and both answers here")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="differential-") as work:
            rows = run(options.only, Path(work))
    except PeerUnavailable as error:
        print(f"SKIPPED: {error}")
        return 0
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return report(rows, complete=not options.only)


if __name__ == "__main__":
    sys.exit(main())
