"""Any built Keras model becomes a small, equal, reproducible ONNX file, or is refused by reason."""

import json
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from tests.zoo.export.model_cases import MODELS
from tests.zoo.keras_process import Outcomes, new_python, run_cases
from zoo.files import sha256

CASES = "tests.zoo.export.model_cases"


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Every model of model_cases.py, exported in one process."""
    return cases(CASES, tmp_path_factory.mktemp("export"))


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("tutorial_stack", 12),
        ("dense_relu", 2),
        ("lstm", 3),
        ("lstm_sequence", 4),
        ("gru", 3),
        ("simple_rnn", 3),
    ],
)
def test_the_graph_is_as_small_as_one_would_write_it(
    exports: Outcomes, name: str, most: int
) -> None:
    """No shape arithmetic, no zero states, no separate bias."""
    operators = exports[name]["operators"]

    assert len(operators) <= most, operators
    assert not {"Shape", "Loop", "Cast", "Expand"} & set(operators)


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("lstm_backwards", "LSTM"),
        ("lstm_open", "LSTM"),
        ("lstm_dropout", "LSTM"),
        ("gru", "GRU"),
        ("gru_before", "GRU"),
        ("simple_rnn", "RNN"),
        ("bidirectional", "LSTM"),
    ],
)
def test_recurrent_layers_are_real_operators(exports: Outcomes, name: str, operator: str) -> None:
    """One operator from the layer's weights, where tf2onnx writes a Loop."""
    assert exports[name]["operators"].count(operator) == 1
    assert "Loop" not in exports[name]["operators"]


def test_the_portable_variant_has_no_recurrent_operator(exports: Outcomes) -> None:
    """A second file of plain operators for every recurrent model of fixed length, and no other."""
    for name in (
        "lstm",
        "lstm_sequence",
        "lstm_backwards",
        "gru",
        "gru_before",
        "simple_rnn",
        "bidirectional",
    ):
        assert exports[name]["portable"], name
        assert not {"LSTM", "GRU", "RNN", "Loop"} & set(exports[name]["portable_operators"]), name
    assert not exports["tutorial_stack"]["portable"]


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_before", "simple_rnn", "bidirectional"])
def test_every_gemm_of_a_portable_variant_is_a_plain_one(exports: Outcomes, name: str) -> None:
    """OpenCV 4 refuses one whose constant another operator reads too, ncnn one that adds a result."""
    assert exports[name]["portable"]
    assert exports[name]["unwelcome_to_gemm"] == []


@pytest.mark.parametrize("name", MODELS)
def test_every_export_gives_keras_answers(exports: Outcomes, name: str) -> None:
    """At a batch that the exporter itself did not compare, and another length where that is open."""
    assert exports[name]["difference"] < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_gives_the_same_bytes(exports: Outcomes, name: str) -> None:
    """Twice in one process."""
    facts = exports[name]

    assert facts["sha256"][0] == facts["sha256"][1]
    assert len(set(facts["portable_sha256"])) == int(facts["portable"])


ELSEWHERE = ("bidirectional", "tutorial_stack", "branches")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Some of the models, exported in a process that exported nothing before."""
    return run_cases(new_python, CASES, tmp_path_factory.mktemp("others"), *ELSEWHERE)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_another_process_gives_the_same_bytes(
    exports: Outcomes, others: Outcomes, name: str
) -> None:
    """No name or order depends on what the process did before, or on its hash seed."""
    assert others[name]["sha256"] == exports[name]["sha256"]
    assert others[name]["portable_sha256"] == exports[name]["portable_sha256"]


def test_a_file_names_its_model_and_its_maker(exports: Outcomes) -> None:
    """And claims no more: what a user's model is for, nobody told."""
    assert exports["tutorial_stack"]["properties"] == {"name": "sequential"}
    assert exports["branches"]["properties"] == {"name": "functional"}
    assert exports["lstm"]["producer"] == ["layer-zoo", metadata.version("layer-zoo")]


def test_names_survive(exports: Outcomes) -> None:
    """Several inputs and outputs keep Keras's names, in Keras's order, and share one batch."""
    branches = exports["branches"]

    assert [tensor["name"] for tensor in branches["inputs"]] == ["left", "right"]
    assert [tensor["name"] for tensor in branches["outputs"]] == ["total", "kind"]
    assert {tensor["shape"][0] for tensor in (*branches["inputs"], *branches["outputs"])} == {
        "batch"
    }
    assert exports["lstm_open"]["inputs"][0]["shape"] == ["batch", "time", 1]


def test_augmentation_is_left_out(exports: Outcomes) -> None:
    """A layer that is random in training does nothing in a served model."""
    assert set(exports["random_flip"]["operators"]) <= {"Identity"}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("not_keras", "UsageError: object is not a keras.Model"),
        ("unbuilt", "is not built, so its shapes are unknown"),
        ("no_folder", "there is no such folder"),
        ("opset", "UsageError: opset 3 is not one of 15 to 23"),
        ("samples", "UsageError: samples that do not fit"),
        ("stateful", "stateful"),
        ("no_model", "UsageError: NoneType is not a keras.Model"),
        ("path_text", "is not the path of a file"),
        ("opset_type", "UsageError: opset 17.0 is not one of"),
        ("tolerance", "UsageError: tolerance=0.001: must be"),
        ("names", "UsageError: 1 distinct names are needed"),
        ("name_twice", "UsageError: y: an input and an output need different names"),
        ("rows_uneven", "UsageError: samples have different numbers of rows"),
        ("rows_wrapped", "UsageError: samples of input hold 300, which is no uint8"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_reason(
    exports: Outcomes, case: str, words: str
) -> None:
    """The reason names what is wrong, and no file is left behind."""
    assert words in exports[case]["text"]
    assert exports[case]["left"] == []


SAVE = """
import sys, keras
layers = [keras.Input((6, 2), name="series"), keras.layers.GRU(4), keras.layers.Dense(2, name="odds")]
keras.Sequential(layers).save(sys.argv[1])
"""


def test_a_keras_file_is_published_or_refused_in_one_line(python, zoo, tmp_path: Path) -> None:
    """A user's own file, whole and cut off."""
    whole, cut = tmp_path / "mine.keras", tmp_path / "cut.keras"
    python("-c", SAVE, whole).check_returncode()
    cut.write_bytes(whole.read_bytes()[:500])

    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return zoo(*arguments, "--repository", tmp_path / "models")

    done, refused = run("export", whole, "--portable"), run("export", cut)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/mine/1/model.onnx").is_file()
    assert (tmp_path / "models/mine/config.pbtxt").is_file()
    manifest = json.loads((tmp_path / "models/mine/1/manifest.json").read_text())
    assert manifest["rebuild"]["source"]["sha256"] == sha256(whole)
    (variant,) = manifest["variants"]
    assert variant["sha256"] == sha256(tmp_path / "models/mine/1/model.portable.onnx")
    assert all(row["ok"] for row in (*manifest["parity"], *variant["parity"]))

    again = run("export", whole, "--portable")
    assert again.returncode == 0, again.stderr
    assert [path.name for path in (tmp_path / "models/mine").glob("[0-9]*")] == ["1"]
    results = json.loads(run("verify", "mine", "--json").stdout)
    assert [(result["model"], result["ok"]) for result in results] == [
        ("mine", True),
        ("mine/model.portable.onnx", True),
    ]
    (listed,) = [m for m in json.loads(run("list", "--json").stdout) if m["model"] == "mine"]
    assert listed["data"] == "exported from mine.keras"
    assert "exported from mine.keras" in run("list").stdout
    assert refused.returncode == 2
    assert "cut.keras is not a .keras file" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "models/cut").exists()
