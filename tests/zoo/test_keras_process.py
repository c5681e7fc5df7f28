"""The process that the zoo's tests lend to TensorFlow: one case's end is that case's alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.zoo.keras_process import Outcomes, new_python, run_cases


def _raises(folder: Path) -> None:
    raise ValueError("no such layer")


def _dies(folder: Path) -> None:
    os.write(2, b"Fatal: out of memory\n")
    os._exit(9)


CASES = {
    "first": lambda folder: {"folder": str(folder)},
    "raises": _raises,
    "unwritable": lambda folder: {1, 2},
    "second": lambda folder: 2,
    "dies": _dies,
    "last": lambda folder: 3,
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What became of this module's cases."""
    return run_cases(new_python, __name__, tmp_path_factory.mktemp("cases"))


def test_results_come_back(outcomes: Outcomes) -> None:
    """Of every case that ended, those after a failure and before the process's end included."""
    assert Path(outcomes["first"]["folder"]).is_dir()
    assert outcomes["second"] == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "ValueError: no such layer"),
        ("unwritable", "TypeError: Object of type set is not JSON serializable"),
        ("dies", r"the process ended \(9\) before dies: Fatal: out of memory"),
        ("last", r"the process ended \(9\) before last"),
    ],
)
def test_a_failure_is_of_the_test_that_asks_for_it(
    outcomes: Outcomes, name: str, words: str
) -> None:
    """With the traceback, or with what the process said last."""
    with pytest.raises(pytest.fail.Exception, match=words):
        outcomes[name]
