"""Runs other projects' tests of their exporters through ours, and theirs through the same adaptation.

    python tests/interop/exporter_suites.py CHECKOUT [NAME ...]
        [--exporter zoo tf2onnx keras] [--outcomes FOLDER]

CHECKOUT is one of github.com/onnx/tensorflow-onnx (its keras2onnx tests) or
github.com/keras-team/keras (its tests of export to ONNX and SavedModel). Nothing in it is changed,
and nothing of it is kept: exporter_plugin.py replaces what the tests call. With NAMEs, the tests
whose name contains one. Prints what failed, with its reason, and the counts. FOLDER keeps each
test's outcome as soon as it is known, with the whole of its error; what it holds is not run again,
so a run that was cut off goes on where it stopped, and to run a test again is to delete its line.
"""

from __future__ import annotations

import argparse
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

#: Where a checkout keeps its tests, and which; they are copied out, lest sources beside them shadow
#: what is installed (Keras has an onnx.py there).
SUITES = {
    Path("tests") / "keras2onnx_unit_tests": (
        "test_layers.py",
        "test_subclassing.py",
        "test_cgan.py",
    ),
    Path("keras") / "src" / "export": ("onnx_test.py", "saved_model_test.py"),
}

#: What tests import from beside them, where there is such.
HELPERS = ("conftest.py", "test_utils.py", "mock_keras2onnx")

#: What pytest returns when every chosen test was run: passed, some failed, none was chosen.
COMPLETE = (0, 1, 5)

Row = dict[str, str]


def run(
    folder: Path, files: tuple[str, ...], exporter: str, names: list[str], outcomes: Path
) -> list[Row]:
    """Run the tests that `outcomes` lacks in a process of their own; one row each test."""
    with tempfile.TemporaryDirectory(prefix="suite-") as work:
        place = Path(work) / "tests"
        place.mkdir()
        for name in (*files, *HELPERS):
            if (folder / name).is_dir():
                shutil.copytree(folder / name, place / name)
            elif (folder / name).is_file():
                shutil.copy(folder / name, place)
        outcomes.touch()
        command = [
            sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--confcutdir=.",
            "-p", "tests.interop.exporter_plugin", "-p", "no:cacheprovider",
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
        # A process that died, or a file that cannot be imported, leaves counts that are too small.
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
    options = parser.parse_args()
    suites = [(options.checkout / place, files) for place, files in SUITES.items()]
    present = [(folder.resolve(), files) for folder, files in suites if folder.is_dir()]
    if not present:
        print(f"{options.checkout} holds none of {', '.join(map(str, SUITES))}")
        return 2
    complete = True
    with tempfile.TemporaryDirectory(prefix="suite-outcomes-") as temporary:
        outcomes: Path = options.outcomes or Path(temporary)
        outcomes.mkdir(parents=True, exist_ok=True)
        for exporter in options.exporter:
            rows = [
                row
                for folder, files in present
                for row in run(
                    folder, files, exporter, options.names, outcomes / f"{exporter}.jsonl"
                )
            ]
            report(exporter, rows)
            complete = complete and bool(rows)
    return 0 if complete else 1


def report(exporter: str, rows: list[Row]) -> None:
    """Print what failed, with its reason, and the counts."""
    for row in rows:
        if row["outcome"] == "failed":
            print(f"{exporter}  {row['test'].partition('::')[2]}\n    {row['reason'][:300]}")
    counts = Counter(row["outcome"] for row in rows)
    followed = sum("followed" in row and row["outcome"] == "passed" for row in rows)
    print(
        f"{exporter}: {len(rows)} tests, {dict(sorted(counts.items()))}; "
        f"{followed} passed by doing what a refusal said",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
