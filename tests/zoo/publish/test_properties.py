"""What a file says of itself."""

from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from zoo.convert.passes.annotate import annotate
from zoo.publish.properties import stable_name


def _model() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "model",
        [value("x", TensorProto.FLOAT, ["batch"])],
        [value("y", TensorProto.FLOAT, ["batch"])],
    )
    return helper.make_model(graph)


def test_properties_replace_what_was_there_in_the_order_given() -> None:
    """Annotating twice is annotating once."""
    model = _model()
    annotate(model, {"b": "1", "a": "2"}, {"x": "what goes in"})
    once = model.SerializeToString()
    annotate(model, {"b": "1", "a": "2"}, {"x": "what goes in"})

    assert model.SerializeToString() == once
    assert [entry.key for entry in model.metadata_props] == ["b", "a"]
    assert (model.graph.input[0].doc_string, model.graph.output[0].doc_string) == (
        "what goes in",
        "",
    )
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(
    ("kind", "keras_name", "name"),
    [
        ("Sequential", "sequential_12", "sequential"),
        ("Functional", "functional", "functional"),
        ("MyModel", "my_model_3", "my_model"),
        ("Sequential", "resnet_50", "resnet_50"),
        ("Sequential", "digits", "digits"),
    ],
)
def test_only_keras_own_number_is_dropped(kind: str, keras_name: str, name: str) -> None:
    """It counts models made in the process; a name that somebody chose stays."""
    model = type(kind, (SimpleNamespace,), {})(name=keras_name)

    assert stable_name(model) == name
