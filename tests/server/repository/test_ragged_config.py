"""What config.pbtxt cannot ask of ragged batches: each is refused at load, by name."""

import pytest
from google.protobuf import text_format

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import model_config_pb2
from zoo_server.datatypes import TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.repository.ragged import ragged_settings

RAGGED = 'input [{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true MORE }]'
TOLD = 'batch_input [{ kind: KIND target_name: "n" data_type: TYPE_INT32 source_input: "x" }]'
SPLIT = (
    'output [{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }] batch_output [{ target_name: "y" '
    'source_input: "x" }]'
)


def told(kind: str = "BATCH_ELEMENT_COUNT", **changed: str) -> str:
    text = TOLD.replace("KIND", kind)
    for what, value in changed.items():
        text = text.replace(
            {"target": 'target_name: "n"', "datatype": "INT32", "source": 'source_input: "x"'}[
                what
            ],
            value,
        )
    return text


PLAIN = RAGGED.replace("MORE", "")
ALSO = 'input [{ name: "k" data_type: TYPE_FP32 dims: [ 2 ] optional: true }]'

REFUSED = {
    "no batches": (f"max_batch_size: 0 {PLAIN}", "need a max_batch_size above 0"),
    "sequences": (f"sequence_batching {{}} {PLAIN}", "not served with sequence_batching"),
    "a cache": (f"response_cache {{ enable: true }} {PLAIN}", "response_cache is not served"),
    "optional": (RAGGED.replace("MORE", "optional: true"), "can be neither optional nor"),
    "reshaped": (RAGGED.replace("MORE", "reshape { shape: [ -1 ] }"), "neither optional nor"),
    "rows in the graph": (PLAIN.replace('"x"', '"wide"'), r"shape \[-1\].*provides \[-1, 4\]"),
    "a fixed size": (PLAIN.replace('"x"', '"fixed"'), r"shape \[-1\].*provides \[3\]"),
    "no source": (PLAIN + told(source=""), "expects 1 source_input"),
    "two sources": (PLAIN + told(source='source_input: ["x", "x"]'), "expects 1 source_input"),
    "an unknown source": (PLAIN + told(source='source_input: "z"'), "'z', which is no input"),
    "a source that may lack": (PLAIN + ALSO + told(source='source_input: "k"'), "'k', which is no"),
    "no target": (PLAIN + told(target=""), "and a target_name"),
    "an unknown target": (PLAIN + told(target='target_name: "z"'), "target_name 'z', which is no"),
    "a target that is sent": (PLAIN + told(target='target_name: "x"'), "target_name 'x'"),
    "a target twice": (PLAIN + told() + told(), "target_name 'n' twice"),
    "another type": (PLAIN + told(datatype="STRING"), "has data_type TYPE_STRING: it can be"),
    "not the graph's type": (PLAIN + told(datatype="FP32"), "but the graph takes TYPE_INT32"),
    "not the graph's rank": (PLAIN + told("BATCH_ITEM_SHAPE"), r"shape \[-1, 1\], but the graph"),
    "an unknown output": (PLAIN + SPLIT.replace('target_name: "y"', 'target_name: "z"'), "'z'"),
    "a variable size of nothing": (
        PLAIN + SPLIT.replace("[ -1 ]", "[ -1, -1 ]"),
        r"dims \[-1, -1\], whose variable ones are not all of 'x'",
    ),
    "an output twice": (PLAIN + SPLIT.replace('"y" source', '["y", "y"] source'), "'y' twice"),
}


def settings(text: str):
    config = model_config_pb2.ModelConfig()
    text_format.Parse(text if "max_batch_size" in text else f"max_batch_size: 4 {text}", config)
    number, counts = by_config("TYPE_FP32"), by_config("TYPE_INT32")
    shapes = {"x": ("n",), "wide": ("n", 4), "fixed": (3,), "k": ("n", 2)}
    inputs = {
        name: TensorSpec(name=name, datatype=number, shape=shape) for name, shape in shapes.items()
    }
    inputs["n"] = TensorSpec(name="n", datatype=counts, shape=(None,))
    outputs = {"y": TensorSpec(name="y", datatype=number, shape=("n",))}
    return ragged_settings(config, inputs, outputs)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    """In one line that names it."""
    text, reason = REFUSED[case]
    with pytest.raises(ModelLoadError, match=reason) as caught:
        settings(text)
    assert "\n" not in str(caught.value)


def test_kinds_without_a_name():
    """They come as numbers in the JSON of a load request."""
    config = model_config_pb2.ModelConfig(max_batch_size=4)
    config.input.add(name="x", dims=[-1])
    config.output.add(name="y", dims=[-1])
    wanted = config.batch_input.add(kind=99, target_name=["n"], data_type=99, source_input=["x"])
    specs = {"x": TensorSpec(name="x", datatype=by_config("TYPE_FP32"), shape=("n",))}
    for reason in ("has kind 99", "has data_type 99", "has kind 7"):
        with pytest.raises(ModelLoadError, match=reason):
            ragged_settings(config, specs, specs)
        if wanted.kind == 0:
            del config.batch_input[:]
            config.batch_output.add(kind=7, target_name=["y"], source_input=["x"])
        wanted.kind = 0


def test_what_is_not():
    """Nothing of it, and all of it."""
    assert settings('input [{ name: "x" }]') is None
    found = settings(PLAIN + told() + SPLIT)
    assert (found.inputs, [each.targets for each in found.batch_inputs]) == ({"x"}, [("n",)])
    assert found.batch_outputs["y"].source == "x"


def test_an_ensemble_has_none(repository, serve, graphs):
    """Its models may; the reason stands in the index."""
    repository.add("m", graphs.identity())
    repository.add(
        "e",
        None,
        f"""
        platform: "ensemble" max_batch_size: 4 {PLAIN}
        output [{{ name: "out" data_type: TYPE_FP32 dims: [ 4 ] }}]
        ensemble_scheduling {{ step [{{ model_name: "m" model_version: -1
          input_map {{ key: "x" value: "x" }} output_map {{ key: "y" value: "out" }} }}] }}""",
    )
    with serve(repository.path) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    reasons = {entry.name: entry.reason for entry in index}
    assert "not served for an ensemble" in reasons["e"]
