"""Cases that need TensorFlow, run in one process of their own; one that raises fails alone.

    CASES = {"dense": export_dense, ...}     in a module of cases: each takes a folder that all of
                                             them share, and returns what JSON can hold
    outcomes = cases(module, folder)         in a fixture of the tests (conftest.py)
    outcomes["dense"]                        what the case returned, or its traceback as a failure

pytest's own process stays free of TensorFlow, which changes for all tests what threads and signal
handlers there are. A module of cases imports Keras inside functions, so
that the tests can import the module for its names.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

Cases = Mapping[str, Callable[[Path], Any]]

ROOT = Path(__file__).parents[2]


class Outcomes:
    """What became of each case, and what the process said on its error output."""

    def __init__(self, lines: list[str], log: str, status: int) -> None:
        self._outcomes: dict[str, dict[str, Any]] = {}
        for line in lines:
            self._outcomes |= json.loads(line)
        self.log = log
        self.status = status

    def __getitem__(self, name: str) -> Any:
        """Return what a case returned; fail with its traceback if it raised, or never ran."""
        outcome = self._outcomes.get(name)
        if outcome is None:
            pytest.fail(f"the process ended ({self.status}) before {name}: {self.log[-3000:]}")
        if "traceback" in outcome:
            pytest.fail(f"{name} raised\n{outcome['traceback']}", pytrace=False)
        return outcome["result"]


def new_python(*arguments: object, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` as a process that shares nothing with another, its hash seed included."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )


def run_cases(
    python: Callable[..., subprocess.CompletedProcess[str]],
    module: str,
    folder: Path,
    *names: str,
    timeout: float = 250,
) -> Outcomes:
    """Run a module's cases, or those named, in order, in a process of their own.

    `python` runs it: `new_python`, or the fixture of that name, which knows TensorFlow already.
    """
    record = folder / "outcomes.jsonl"
    record.write_text("", encoding="utf-8")
    done = python("-m", __name__, module, folder, *names, timeout=timeout)
    lines = record.read_text(encoding="utf-8").splitlines()
    return Outcomes(lines, done.stderr, done.returncode)


def main(module: str, folder: Path, names: list[str]) -> None:
    """Run cases, and write down each outcome as soon as it is known."""
    cases: Cases = import_module(module).CASES
    for name in names or cases:
        try:
            line = json.dumps({name: {"result": cases[name](folder)}})
        except Exception:  # whatever it is, it is this case's outcome alone
            line = json.dumps({name: {"traceback": traceback.format_exc()}})
        with (folder / "outcomes.jsonl").open("a", encoding="utf-8") as record:
            record.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
