"""Weights in a file beside the model's: written, published, listed, verified, loaded, copied and served."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import zoo
from tests.zoo.export.external_cases import NAME
from zoo.cli import main
from zoo.client import Client
from zoo.export.model_file import PAGE, write_model
from zoo.parity.vectors import read_vectors
from zoo.publish.transfer import RemoteTarget


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("external")


@pytest.fixture(scope="module")
def outcomes(cases, folder):
    return cases("tests.zoo.export.external_cases", folder)


@pytest.fixture
def repository(outcomes, folder, tmp_path):
    """A private copy of the repository, with two versions."""
    assert outcomes["published"] == [1, 2, 2]
    shutil.copytree(folder / "models", tmp_path / "models")
    return tmp_path / "models"


def test_two_files_hold_what_one_does(outcomes, folder):
    """The same graph and weights; the second export has the same bytes, and the report names the data."""
    said = outcomes["both ways"]
    one, two = (onnx.load(folder / f"{name}.onnx") for name in ("one", "two"))
    for a, b in zip(one.graph.initializer, two.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(a), numpy_helper.to_array(b))
    assert list(one.graph.node) == list(two.graph.node)
    assert said["one"]["data"] is None
    assert said["two"]["data"] == str(folder / "two.onnx.data")
    both = [folder / "two.onnx", folder / "two.onnx.data"]
    assert said["two"]["bytes"] == sum(path.stat().st_size for path in both)
    assert any("reads its weights from two.onnx.data" in note for note in said["two"]["notes"])
    assert both[1].read_bytes() == (folder / "again.onnx.data").read_bytes()


def test_weights_lie_outside_and_on_pages(outcomes, folder):
    """Those of a page or more begin on one; small ones stay, since runtimes read shapes from there."""
    assert outcomes["both ways"]
    graph = onnx.load(folder / "two.onnx", load_external_data=False).graph
    outside = [t for t in graph.initializer if t.data_location == TensorProto.EXTERNAL]
    places = [{e.key: e.value for e in tensor.external_data} for tensor in outside]

    assert {place["location"] for place in places} == {"two.onnx.data"}
    assert len(outside) == 3
    for place in places:
        assert int(place["length"]) >= 1024
        assert int(place["length"]) < PAGE or int(place["offset"]) % PAGE == 0


def test_a_path_is_used_again(outcomes):
    """Neither file of a model is left beside another's."""
    steps = outcomes["replaced"]
    assert [step["files"] for step in steps] == [
        ["m.onnx", "m.onnx.data"],
        ["m.onnx", "m.onnx.data"],
        ["m.onnx"],
    ]
    assert max(step["worst"] for step in steps) < 1e-5


def test_a_file_of_another_name_giver_stays(outcomes):
    """It is not the model's, so it is not overwritten."""
    assert outcomes["foreign"] == {
        "kind": "UsageError",
        "text": outcomes["foreign"]["text"],
        "left": {"m.onnx.data": "mine"},
    }
    assert "m.onnx does not read it: move it away" in outcomes["foreign"]["text"]


def test_published_listed_and_verified(repository, capsys):
    """The manifest has the data's checksum, and its bytes count."""
    version = repository / NAME / "2"
    files = json.loads((version / "manifest.json").read_text())["files"]
    size = sum((version / name).stat().st_size for name in ("model.onnx", "model.onnx.data"))
    assert files["model.onnx.data"]["bytes"] > files["model.onnx"]["bytes"]

    assert main(["verify", NAME, "--repository", str(repository)]) == 0
    assert main(["show", NAME, "--repository", str(repository)]) == 0
    capsys.readouterr()
    assert main(["list", "--json", "--repository", str(repository)]) == 0
    (row,) = [r for r in json.loads(capsys.readouterr().out) if r["model"] == NAME]
    assert row["bytes"] == size == zoo.info(NAME, repository=repository).bytes


def test_data_that_was_changed_is_not_verified(repository, capsys):
    """One bit of a weight is enough."""
    data = repository / NAME / "2" / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[5] ^= 1
    data.write_bytes(content)

    assert main(["verify", NAME, "--repository", str(repository)]) == 1
    assert "is not what was published" in capsys.readouterr().out


def answers_right(model: Path, answer) -> None:
    """Hold answers against the vectors beside a published model."""
    (case, *_) = read_vectors(model)
    given = answer(case.feeds["image"])
    np.testing.assert_allclose(given, case.expected["answer"], atol=1e-5)


def test_loaded_here(repository):
    """zoo.load reads the data from beside the file."""
    with zoo.load(NAME, repository=repository) as model:
        answers_right(
            repository / NAME / "2" / "model.onnx",
            lambda rows: model.run({"image": rows})["answer"],
        )


def test_pushed_pulled_and_served(repository, s3, serving, tmp_path):
    """The data goes along, and a server answers with it, from a folder and without its cure."""
    target = RemoteTarget(s3.url)
    assert target.push(repository, NAME).created
    assert f"{NAME}/2/model.onnx.data" in set(s3.keys())
    pulled = tmp_path / "pulled"
    assert target.pull(NAME, pulled).created

    with serving(pulled) as port, Client(f"127.0.0.1:{port}") as client:
        answers_right(
            pulled / NAME / "2" / "model.onnx",
            lambda rows: client.infer(NAME, {"image": rows})["answer"],
        )


def test_one_file_has_protobufs_bytes(tmp_path):
    """Also where weights are read while it is written, as those of large models are."""
    from zoo.convert.passes.large_weights import LargeWeights

    large, rng = LargeWeights(), np.random.default_rng(0)
    arrays = {f"w{i}": rng.normal(size=(64, 300)).astype(np.float32) for i in range(3)}
    plain = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    lazy = [
        large.add(name, array.shape, TensorProto.FLOAT, lambda array=array: array)
        for name, array in arrays.items()
    ]
    models = []
    for weights in (plain, [lazy[0], plain[1], lazy[2]]):
        model = onnx.helper.make_model(
            onnx.helper.make_graph([], "g", [], [], weights, doc_string="of the graph"),
            opset_imports=[onnx.helper.make_opsetid("", 17)],
        )
        model.metadata_props.add(key="name", value="any")
        models.append(model)

    write_model(models[0], tmp_path / "plain.onnx")
    write_model(models[1], tmp_path / "lazy.onnx", large)

    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "lazy.onnx").read_bytes()
