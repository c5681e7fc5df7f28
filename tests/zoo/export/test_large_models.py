"""Large models: their weights are left out of the graph, and the files are the same; memory is bounded."""

import json
import math
import subprocess
import sys
import textwrap

import pytest

from tests.zoo.export.large_cases import SAME


@pytest.fixture(scope="module")
def outcomes(cases, tmp_path_factory):
    return cases("tests.zoo.export.large_cases", tmp_path_factory.mktemp("large"))


@pytest.mark.parametrize("build", SAME)
def test_the_file_is_the_same(outcomes, build):
    """As that of a small model, byte by byte; of a newer opset and with external data it is proven too."""
    outcome = outcomes[build.__name__]
    assert outcome["left out"] > 0
    assert outcome["same"]
    assert outcome["apart"]


def test_a_table_that_is_read_twice_is_written_once(outcomes):
    """Where a small model's file has its transpose as well."""
    outcome = outcomes["tied"]
    assert outcome["bytes"][1] < 0.6 * outcome["bytes"][0]


def test_a_weight_that_calls_assign_is_exported_as_ever(outcomes):
    """Nothing can be left out, so nothing is."""
    assert outcomes["masked"]["same"]


def test_every_variant_has_its_own_data(outcomes):
    files, _ = outcomes["portable"]
    assert files == [
        "words2.onnx",
        "words2.onnx.data",
        "words2.portable.onnx",
        "words2.portable.onnx.data",
    ]


def test_a_large_model_is_quantised(outcomes):
    (ratio,) = outcomes["quantised"]
    assert ratio < 0.4


MEASURE = textwrap.dedent(
    """
    import json, resource, sys
    from pathlib import Path

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    from zoo.training.framework import import_keras
    keras = import_keras().keras
    import zoo
    from zoo.export import from_model
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    folder = Path(sys.argv[1])
    zoo.export_model(small, folder / "small.onnx")
    before = peak()
    if sys.argv[2] == "deep":
        net = keras.applications.ResNet152V2(weights=None)
    else:
        net = keras.Sequential([keras.Input((2560,))])
        for _ in range(12):
            net.add(keras.layers.Dense(2560, activation="relu"))
    weights = sum(4 * w.numpy().size for w in net.weights)
    report = zoo.export_model(net, folder / "net.onnx", external_data=sys.argv[2] == "apart")
    print(json.dumps({"before": before, "peak": peak(), "weights": weights, "bytes": report.bytes}))
    """
)


@pytest.mark.slow
@pytest.mark.timeout(1900)
@pytest.mark.parametrize("files", ["one", "apart", "deep"])
def test_memory_is_bounded(tmp_path, files):
    """Hundreds of MB of weights, with Keras's own copy and onnxruntime's, in 2.5 times that beside TensorFlow.

    Those of twelve dense layers, in one file or apart, and of a deep network with its activations.
    In the best of three processes: with the order in which threads free, one has 2.2 to 2.9 times.
    """
    best = math.inf
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), files],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        measured = json.loads(done.stdout.splitlines()[-1])
        assert measured["bytes"] > 0.99 * measured["weights"] > 230e6
        best = min(best, (measured["peak"] - measured["before"]) / measured["weights"])
        if best < 2.5:
            return
    pytest.fail(f"{best:.2f} times the weights")
