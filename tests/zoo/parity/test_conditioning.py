"""Ill-conditioned models: their own files are proven layer by layer, and wrong ones refused as ever."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.zoo.keras_process import Outcomes
from tests.zoo.parity.conditioning_cases import ERRORS, NETWORKS
from zoo.parity.compare import Arrays, Case, Policy
from zoo.parity.conditioning import MARGIN, WIDEST, prove_ill_conditioned
from zoo.parity.layerwise import PIECE
from zoo.parity.prove import prove

MODULE = "tests.zoo.parity.conditioning_cases"
QUICK = ("steep images", "calm images")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]


@pytest.fixture(scope="module")
def outcome(
    cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Any]:
    """Judge a network and its changed files, once."""
    known: dict[str, Any] = {}

    def judged(name: str) -> Any:
        if name not in known:
            folder = tmp_path_factory.mktemp("network")
            known[name] = cases(MODULE, folder, name, timeout=280)[name]
        return known[name]

    return judged


@pytest.mark.parametrize("name", ALL)
def test_the_network_itself_is_proven(outcome: Callable[[str], Any], name: str) -> None:
    """One that is ill-conditioned layer by layer, and the bound that it is published under says so."""
    itself = outcome(name)["itself"]

    assert not itself["refusal"]
    assert itself["plain"] == (name == "calm images")
    if itself["plain"]:
        assert itself["conditioning"] == {}
        assert itself["bound"] == Policy().tolerance.scaled
        return
    conditioning = itself["conditioning"]
    assert conditioning["file"] <= MARGIN * conditioning["keras"]
    assert conditioning["worst"] < PIECE
    assert itself["bound"] == pytest.approx(min(MARGIN * conditioning["keras"], WIDEST))


@pytest.mark.parametrize("name", ALL)
def test_a_small_error_is_refused(outcome: Callable[[str], Any], name: str) -> None:
    """In any layer: one weight a hundredth off, another epsilon, a window moved by one, two layers swapped."""
    _, errors = ERRORS.get(NETWORKS[name][0], ("", ()))
    told = {key: row["refusal"] for key, row in outcome(name).items() if key != "itself"}

    assert len(told) == 3 * len(errors)
    assert [key for key, refusal in told.items() if not refusal] == []


class Fake:
    """A model that doubles; its float32 is so far from its float64."""

    def __init__(self, off: float) -> None:
        self.off, self.asked = off, 0

    def in_float64(self, feeds: Arrays) -> Arrays:
        return {"y": feeds["x"].astype(np.float64) * 2 + self.off}

    def layers(self, feeds: Arrays) -> tuple[Arrays, list[np.ndarray]]:
        self.asked += 1
        return {"y": feeds["x"] * 2}, [feeds["x"]]

    def first_rows(self, feeds: Arrays, rows: int) -> Arrays:
        return feeds


def _file(folder: Path, factor: float) -> Path:
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in "xy"]
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [], [factor])]
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", values[:1], values[1:], weights)
    path = folder / "model.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("factor", "off", "asked", "why"),
    [
        (2.001, 1e-6, 0, "disagree"),  # well-conditioned: never asked, never looser
        (2.001, 1e-3, 1, "layer by layer too"),  # far from itself, and the file is wrong too
        (2.00001, 1e-3, 0, ""),  # within the bound of all files
    ],
)
def test_the_bound_is_loosened_by_nothing_but_keras(
    tmp_path: Path, factor: float, off: float, asked: int, why: str
) -> None:
    path = _file(tmp_path, factor)
    rows = np.ones((1, 2), np.float32)
    cases = [Case(name="rows", feeds={"x": rows}, expected={"y": 2 * rows})]
    keras = Fake(off)

    proof = prove(path, cases, Policy())
    if not proof.report.ok:
        proof, tolerance = prove_ill_conditioned(proof, path, cases, Policy(), keras)
        assert tolerance == Policy().tolerance

    assert keras.asked == asked
    assert proof.report.ok == (not why)
    assert why in ("" if proof.report.ok else f"disagree {proof.report.worst.reason}")


def test_another_shape_is_no_rounding(tmp_path: Path) -> None:
    path = _file(tmp_path, 2.0)
    rows = np.ones((1, 2), np.float32)
    cases = [Case(name="rows", feeds={"x": rows}, expected={"y": np.ones((2, 2), np.float32)})]
    keras = Fake(1.0)

    proof, _ = prove_ill_conditioned(prove(path, cases, Policy()), path, cases, Policy(), keras)

    assert not proof.report.ok
    assert keras.asked == 0


@pytest.mark.slow
def test_the_manifest_and_the_commands_say_it(
    cases: Callable[..., Outcomes], zoo: Callable[..., Any], tmp_path: Path
) -> None:
    """`zoo export` publishes it, `verify` holds it to its own bound, and both that and `show` say why."""
    notes = cases(MODULE, tmp_path, "saved", timeout=280)["saved"]
    (note,) = [
        note for note in notes if note.startswith("ill-conditioned: Keras's float32 differs")
    ]
    place = ("--repository", tmp_path / "models")
    exported = zoo("export", tmp_path / "net.keras", "--name", "net", *place, timeout=280)
    assert exported.returncode == 0, exported.stderr
    manifest = json.loads((tmp_path / "models" / "net" / "1" / "manifest.json").read_text())
    verified = zoo("verify", "net", *place, timeout=120)
    told = zoo("verify", "net", *place, "--json", timeout=120)
    shown = zoo("show", "net", *place, timeout=120)

    assert manifest["conditioning"]["text"] == manifest["tolerance"]["reason"] == note
    assert manifest["tolerance"]["scaled"] < 0.1
    assert verified.returncode == 0, verified.stdout
    for command in (verified, shown, exported):
        assert "ill-conditioned" in command.stdout
    assert json.loads(told.stdout)[0]["note"] == note
