"""keras-hub's backbones through the exporter: all right, and a page that is generated."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import keras_hub

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench/results/keras_hub.json"
PAGE = ROOT / "docs/keras_hub.md"


def test_the_last_run_is_what_the_page_says() -> None:
    """Of every backbone, each right by ours."""
    rows = json.loads(RESULTS.read_text())

    assert [row["name"] for row in rows] == list(keras_hub.BACKBONES)
    assert {row["name"]: row["status"] for row in rows} == dict.fromkeys(keras_hub.BACKBONES, "ok")
    assert keras_hub.page(rows) == PAGE.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed"
)
def test_every_backbone_is_exported_right() -> None:
    """At batch 1 and 7."""
    command = [sys.executable, "-m", "bench.keras_hub", "--without-peers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
