"""Lighthouse from the npm registry, run with this machine's Node and Chromium: its scores of a page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import ZooError

#: The last one that runs on the Node of Debian and Ubuntu.
VERSION = "12.8.2"

CATEGORIES = ("performance", "accessibility", "best-practices")

#: Lighthouse slows a fast desktop down by four to get a phone of the middle class.
DEFAULT_SLOWDOWN = 4.0


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a page, 0 to 100 by category, and how fast the machine was while they were taken."""

    by_category: dict[str, int]
    benchmark_index: float

    @property
    def slowdown(self) -> float:
        """How much this machine has to be slowed down to be that phone.

        Lighthouse's documentation asks for it where a machine is slower than the desktop it assumes
        (lighthouse:docs/throttling.md); the lines through 150, 800, 1300 and 2000 are of the calculator that it links.
        """
        index = self.benchmark_index
        if index >= 1300:
            return 3 + (index - 1300) / 233
        if index >= 800:
            return 2 + (index - 800) / 500
        return 1 + max(0, index - 150) / 650


def program() -> Path:
    """Return Lighthouse's program, installed into the user's cache once. Raises ZooError without npm or registry."""
    npm = shutil.which("npm")
    if npm is None:
        raise ZooError("there is no npm on this machine (Debian: apt-get install npm)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layer-zoo"
    folder = cache / f"lighthouse-{VERSION}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as staged:
            _install(npm, Path(staged) / "new")
            (Path(staged) / "new").rename(folder)
    return folder / "node_modules/.bin/lighthouse"


def _install(npm: str, folder: Path) -> None:
    folder.mkdir()
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error")
    done = subprocess.run(
        [npm, "install", *quiet, "--prefix", str(folder), f"lighthouse@{VERSION}"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or "npm failed").splitlines()[0]
        raise ZooError(f"lighthouse {VERSION} cannot be installed: {reason}")


def scores(address: str, chromium: str, slowdown: float = DEFAULT_SLOWDOWN) -> Scores:
    """Return the scores of a page on a phone with a slow network.

    Raises ZooError as `program` does, and where Lighthouse saw no load of the page, as on a machine with other work.
    """
    command = [
        str(program()), address, "--quiet", "--output", "json",
        "--chrome-flags=--headless --no-sandbox", "--only-categories", ",".join(CATEGORIES),
        f"--throttling.cpuSlowdownMultiplier={slowdown:.2f}",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "CHROME_PATH": chromium},
    )
    if done.returncode:
        raise ZooError(done.stderr.strip())
    report = json.loads(done.stdout)
    return Scores(
        {name: round(100 * report["categories"][name]["score"]) for name in CATEGORIES},
        report["environment"]["benchmarkIndex"],
    )
