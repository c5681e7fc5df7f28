"""Graphs that some data ends onnxruntime's process with are named at the load (SIGFPE)."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_server.repository.graph_file import read_graph

INT, F = TensorProto.INT64, TensorProto.FLOAT
TWO = numpy_helper.from_array(np.array([2]), "two")


def node(operator, inputs, output="y", **attributes):
    return helper.make_node(operator, inputs, [output], name=f"the_{output}", **attributes)


def model(nodes, **inputs):
    values = [helper.make_tensor_value_info(n, kind, ["n"]) for n, kind in inputs.items()]
    end = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph(nodes, "tiny", values, [end], initializer=[TWO])
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


DIVIDES = {
    "inputs": ([node("Div", ["a", "b"])], {"a": INT, "b": INT}),
    "cast": (
        [node("Cast", ["a"], "c", to=TensorProto.INT32), node("Cast", ["b"], "d", to=TensorProto.INT32),
         node("Div", ["c", "d"])],
        {"a": F, "b": F},
    ),
    "computed": ([node("Add", ["a", "two"], "c"), node("Div", ["a", "c"])], {"a": INT}),
    "found": ([node("ArgMax", ["a"], "c"), node("Div", ["c", "b"])], {"a": F, "b": INT}),
}  # fmt: skip

HARMLESS = {
    "floats": ([node("Div", ["a", "b"])], {"a": F, "b": F}),
    "a constant divisor": ([node("Div", ["a", "two"])], {"a": INT}),
    "sizes": (
        [node("Shape", ["a"], "c"), node("Size", ["a"], "d"), node("Div", ["c", "d"])],
        {"a": F},
    ),
    "compared": (
        [node("Equal", ["a", "b"], "e"), node("Cast", ["e"], "c", to=F), node("Div", ["c", "c"])],
        {"a": INT, "b": INT},
    ),
}


@pytest.mark.parametrize("case", DIVIDES)
def test_a_division_that_data_decides_is_named(tmp_path, case):
    """Where both sides are integers that come from the request."""
    nodes, inputs = DIVIDES[case]
    (tmp_path / "model.onnx").write_bytes(model(nodes, **inputs))
    traits = read_graph(tmp_path / "model.onnx").traits

    assert traits.ends_on_data == "node 'the_y' (a division of integers)"


@pytest.mark.parametrize("case", HARMLESS)
def test_a_division_that_cannot_end_the_process_is_not(tmp_path, case):
    """Of floats, by a constant, of sizes: what exporters write everywhere gets no line."""
    nodes, inputs = HARMLESS[case]
    (tmp_path / "model.onnx").write_bytes(model(nodes, **inputs))

    assert read_graph(tmp_path / "model.onnx").traits.ends_on_data == ""


def test_the_log_says_what_to_do_at_the_load(repository, serve, caplog):
    """One line a model, none for a model that has a process of its own."""
    graph = model([node("Div", ["a", "b"])], a=INT, b=INT)
    own = 'parameters { key: "isolation" value { string_value: "process" } }'
    repository.add("bare", graph, "max_batch_size: 0")
    repository.add("isolated", graph, f"max_batch_size: 0 {own}")
    with serve(repository.path):
        pass
    lines = [r.getMessage() for r in caplog.records if "may end the server's" in r.getMessage()]

    assert len(lines) == 1
    assert lines[0].startswith("model 'bare' version 1: node 'the_y' (a division of integers)")
    assert 'isolation "process"' in lines[0]
