"""keras.applications through the exporter: right, of every family, and a page that is generated."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "bench/applications.py"
RESULTS = ROOT / "bench/results/applications.json"
PAGE = ROOT / "docs/applications.md"

#: Of every family the small ones, and at least twenty: minutes each on a busy machine.
MODELS = (
    "ConvNeXtTiny",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "ResNet101V2",
    "VGG16",
    "Xception",
)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script, which imports no framework by itself."""
    specification = importlib.util.spec_from_file_location("applications", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("name", MODELS)
def test_an_application_is_exported_right(name: str) -> None:
    """In onnxruntime at batch 1 and 7, from answers that are finite and differ from row to row."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.applications", name],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    row = json.loads(done.stdout.strip().splitlines()[-1])

    assert row["status"] == "ok", row
    assert row["spread"] > 1e-2
    assert row["relative"] <= 1e-4


def test_the_test_covers_every_family(bench: ModuleType) -> None:
    """At least one model of each, and twenty in all."""
    covered = {family for family, (_, names) in bench.FAMILIES.items() if set(names) & set(MODELS)}

    assert covered == set(bench.FAMILIES)
    assert len(set(MODELS)) == len(MODELS) >= 20


def test_the_last_run_is_what_the_page_says(bench: ModuleType) -> None:
    """At least twenty right, of every family, none wrong or crashed; every refusal has a reason."""
    rows = json.loads(RESULTS.read_text())
    family = {name: key for key, (_, names) in bench.FAMILIES.items() for name in names}
    right = [row["model"] for row in rows if row["status"] == "ok"]

    assert len(right) >= 20
    assert {family[name] for name in right} == set(bench.FAMILIES)
    for row in rows:
        assert row["status"] in bench.EXPECTED, row
        assert row["status"] == "ok" or row["reason"]
    table = [line for line in bench.page(rows).splitlines() if line.startswith("| ")]
    assert table == [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]


def test_the_page_says_what_peers_made_and_what_was_compared_layer_by_layer(
    bench: ModuleType,
) -> None:
    """Of the models that they were asked for; a proof layer by layer has no difference of answers."""
    row = {"model": "MobileNet", "size": 64, "status": "ok", "relative": 1e-6}
    peers = {"Keras's export": "ok", "tf2onnx": bench.ENDED}
    asked = row | {"peers": peers, "ratios": {"Keras's export": 0.5}}
    layers = row | {"model": "EfficientNetB6", "relative": None, "reason": "ill-conditioned: ..."}
    page = bench.page([asked, layers])
    _, _, *lines = [line for line in page.splitlines() if "|" in line]

    assert lines[0].endswith("| ok, 0.50 | too large |")
    assert "| ok, layer by layer |" in lines[1]
    assert lines[1].endswith("|  |  |")
    assert "Not measured: `ConvNeXtBase`, " in page


def test_a_death_is_an_outcome(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that takes all memory, or crashes, is reported under its name."""
    for words, status in (("MemoryError: too much", "too large"), ("Segmentation fault", "died")):
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        row = bench.measure("MobileNet")

        assert row["model"] == "MobileNet"
        assert row["status"] == status
        assert row["reason"]
