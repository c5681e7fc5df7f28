"""Runs other projects' tests of their exporters through ours, and theirs through the same adaptation.

    python tests/interop/exporter_suites.py CHECKOUT [NAME ...]
        [--exporter zoo tf2onnx keras] [--outcomes FOLDER] [--seconds N]

CHECKOUT is one of github.com/onnx/tensorflow-onnx (its keras2onnx tests, of layers and of
applications) or github.com/keras-team/keras (its tests of export to ONNX and SavedModel). Nothing in
it is changed, and nothing of it is kept: exporter_plugin.py replaces what the tests call. With NAMEs,
the tests whose name contains one. Prints what failed, with its reason, and the counts of each suite; a
file that cannot be imported counts as one test. FOLDER keeps each test's outcome as soon as it is
known, with the whole of its error; what it holds is not run again, so a run that was cut off goes on
where it stopped, and to run a test again is to delete its line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]

EXPORTERS = ("zoo", "tf2onnx", "keras")

UNIT_TESTS = Path("tests") / "keras2onnx_unit_tests"

#: Where a checkout keeps its tests, and which; they are copied out, lest sources beside them shadow
#: what is installed (Keras has an onnx.py there).
SUITES = {
    UNIT_TESTS: ("test_layers.py", "test_subclassing.py", "test_cgan.py"),
    Path("tests") / "keras2onnx_applications" / "model_tests": ("test_*.py",),
    Path("keras") / "src" / "export": ("onnx_test.py", "saved_model_test.py"),
}

#: What tests import from beside them, or read beside their folder, where there is such.
HELPERS = ("conftest.py", "test_utils.py", "mock_keras2onnx")
BESIDE = ("data", "model_source")

#: What one test may take, unless the command line says otherwise; some export networks of 200 MB.
SECONDS = 1200

#: What pytest returns when every chosen test was run: passed, some failed, none was chosen.
COMPLETE = (0, 1, 5)

Row = dict[str, str]


def copied(checkout: Path, suite: Path, work: Path) -> tuple[Path, list[str]]:
    """Copy a suite with what it needs; return its folder and the names of its files."""
    place = work / "suite" / "tests"
    place.mkdir(parents=True)
    folder = checkout / suite
    files = [file for pattern in SUITES[suite] for file in sorted(folder.glob(pattern))]
    helpers = [home / name for name in HELPERS for home in (checkout / UNIT_TESTS, folder)]
    beside = [folder.parent / name for name in BESIDE]
    for source in (*files, *helpers, *beside):
        target = (place.parent if source in beside else place) / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy(source, target)
    return place, [file.name for file in files]


def run(
    checkout: Path, suite: Path, exporter: str, names: list[str], outcomes: Path, seconds: int
) -> list[Row]:
    """Run the tests that `outcomes` lacks in a process of their own; one row each test."""
    with tempfile.TemporaryDirectory(prefix="suite-") as work:
        place, files = copied(checkout, suite, Path(work))
        outcomes.touch()
        command = [
            sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--confcutdir=.",
            "-p", "tests.interop.exporter_plugin", "-p", "no:cacheprovider",
            "--continue-on-collection-errors", f"--timeout={seconds}",
            *(["-k", " or ".join(names)] if names else []), *files,
        ]  # fmt: skip
        environment = os.environ | {
            "EXPORTER": exporter,
            "EXPORTER_OUTCOMES": str(outcomes.resolve()),
            "PYTHONPATH": str(ROOT),
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        tests = subprocess.run(
            command, cwd=place, env=environment, check=False, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        # A process that died leaves counts that are too small.
        if tests.returncode not in COMPLETE:
            raise SystemExit(f"{tests.stdout[-2000:]}\npytest ended with {tests.returncode}")
        rows = [json.loads(line) for line in outcomes.read_text().splitlines()]
        return [row for row in rows if not names or any(name in row["test"] for name in names)]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--exporter", nargs="+", choices=EXPORTERS, default=["zoo"])
    parser.add_argument("--outcomes", type=Path, help="keep each test's outcome in this folder")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="what one test may take")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    present = [suite for suite in SUITES if (checkout / suite).is_dir()]
    if not present:
        print(f"{options.checkout} holds none of {', '.join(map(str, SUITES))}")
        return 2
    complete = True
    with tempfile.TemporaryDirectory(prefix="suite-outcomes-") as temporary:
        outcomes: Path = options.outcomes or Path(temporary)
        outcomes.mkdir(parents=True, exist_ok=True)
        for suite, exporter in itertools.product(present, options.exporter):
            kept = outcomes / f"{suite.name}-{exporter}.jsonl"
            rows = run(checkout, suite, exporter, options.names, kept, options.seconds)
            report(f"{suite.name} by {exporter}", rows)
            complete = complete and bool(rows or options.names)
    return 0 if complete else 1


def report(title: str, rows: list[Row]) -> None:
    """Print what failed, with its reason, and the counts."""
    for row in rows:
        if row["outcome"] == "failed":
            test = row["test"].partition("::")[2] or row["test"]
            print(f"{title}  {test}\n    {row['reason'][:300]}")
    counts = Counter(row["outcome"] for row in rows)
    followed = sum("followed" in row and row["outcome"] == "passed" for row in rows)
    print(
        f"{title}: {len(rows)} tests, {dict(sorted(counts.items()))}; "
        f"{followed} passed by doing what a refusal said",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
