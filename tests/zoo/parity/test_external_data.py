"""External data is found wherever a model holds a tensor, by the zoo and by the server alike."""

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto, helper

from zoo.files import sha256
from zoo.parity.external_data import bytes_on_disk, checksum, external_files
from zoo.runtimes.process import _write_job
from zoo_server.errors import ModelLoadError
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.external_data import check_external_data

ROW = np.array([[1, 2, 3, 4]], np.float32)

OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def external(location, name="w"):
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
    )
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def value(name, *dims, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def constant(location):
    node = helper.make_node("Constant", [], ["w"])
    attribute = AttributeProto(name="value", type=AttributeProto.TENSOR, t=external(location, ""))
    node.attribute.append(attribute)
    return node


ADD = helper.make_node("Add", ["x", "w"], ["y"])


def model(nodes, *, initializers=(), functions=()):
    x, y = value("x", "n", 4), value("y", "n", 4)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=OPSET, ir_version=8, functions=functions)


def in_an_if(location):
    name = {"y": value("y", "n", 4)}
    then = helper.make_graph([ADD], "then", [], [*name.values()], [external(location)])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "else", [], [*name.values()]
    )
    truth = helper.make_tensor("truth", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["truth"], ["y"], then_branch=then, else_branch=other)
    return model([node], initializers=[truth])


def in_a_scan(location):
    body = helper.make_graph(
        [helper.make_node("Add", ["row", "w"], ["out"])],
        "body",
        [value("row", 4)],
        [value("out", 4)],
        [external(location)],
    )
    return model([helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)])


def in_a_function(location):
    nodes = [constant(location), ADD]
    function = helper.make_function("own", "F", ["x"], ["y"], nodes, OPSET[:1])
    return model([helper.make_node("F", ["x"], ["y"], domain="own")], functions=[function])


def in_a_sparse_weight(location):
    made = model([ADD])
    sparse = made.graph.sparse_initializer.add(dims=[4], values=external(location))
    sparse.indices.CopyFrom(helper.make_tensor("at", TensorProto.INT64, [4], range(4)))
    return made


PLACES = {
    "initializer": lambda location: model([ADD], initializers=[external(location)]),
    "constant": lambda location: model([constant(location), ADD]),
    "if": in_an_if,
    "scan": in_a_scan,
    "function": in_a_function,
    "sparse": in_a_sparse_weight,
}


@pytest.fixture(params=PLACES)
def write(request, tmp_path):
    def written(location):
        path = tmp_path / "1" / "m.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PLACES[request.param](location).SerializeToString())
        return path

    return written


@pytest.mark.parametrize("name", ["m.onnx.data", "weights/m.data"])
def test_both_find_what_a_runtime_reads(write, tmp_path, name):
    path = write(name)
    data = path.parent / name
    data.parent.mkdir(exist_ok=True)
    data.write_bytes(ROW.tobytes())
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": ROW})[0], ROW * 2)

    assert external_files(path) == [name]
    assert bytes_on_disk(path) == path.stat().st_size + 16
    assert checksum(path) == f"{sha256(path)}+{sha256(data)}"
    assert check_external_data(Confinement(tmp_path), path) == 16


def test_what_leads_out_is_refused(write, tmp_path):
    (tmp_path / "secret").write_bytes(ROW.tobytes())
    for location in ("../secret", str(tmp_path / "secret")):
        path = write(location)
        assert external_files(path) == []
        with pytest.raises(ModelLoadError, match="external data must lie beside the model"):
            check_external_data(Confinement(tmp_path), path)


def test_a_copy_for_another_runtime_has_them(write, tmp_path):
    path = write("weights/m.data")
    (path.parent / "weights").mkdir()
    (path.parent / "weights" / "m.data").write_bytes(ROW.tobytes())
    job = tmp_path / "job"
    job.mkdir()
    _write_job(job, SimpleNamespace(folder=tmp_path), path, ())

    assert (job / "model" / "weights" / "m.data").read_bytes() == ROW.tobytes()
