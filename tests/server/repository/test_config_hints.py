"""What a refusal of config.pbtxt says to write there, written: then the model is loaded up to its graph."""

import re

import pytest

from zoo_server.datatypes import TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.repository import config_pbtxt
from zoo_server.repository.autocomplete import Signature, complete, settings_of
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.scan import ModelFiles
from zoo_server.repository.scheduling import isolation_of
from zoo_server.repository.session_settings import session_settings

FP32 = by_config("TYPE_FP32")


def signature(*shape):
    """A graph of one input and one output."""
    tensors = {"datatype": FP32, "shape": shape, "has_default": False}
    return Signature(
        inputs=(TensorSpec(name="x", **tensors),), outputs=(TensorSpec(name="y", **tensors),)
    )


OPEN, FIXED = signature("batch", 3), signature(2, 3)


def load(folder, text, graph):
    """Go the way of a load up to the graph; ModelLoadError says why that fails."""
    (folder / "config.pbtxt").write_text(text)
    files = ModelFiles(
        name="m",
        folder=folder,
        versions=(1,),
        config_file=folder / "config.pbtxt",
        confinement=Confinement(folder),
    )
    written = config_pbtxt.read(files)
    config_pbtxt.choose_versions(written.config, files.versions)
    config_pbtxt.version_labels(written.config)
    batching = "max_batch_size" in text
    full, _ = complete("m", written.config, graph, batching_written=batching)
    settings_of(full, graph, version=1, read_labels=lambda _: ())
    session_settings(full)
    isolation_of(full)


def parameters(**values):
    """Return the parameters of a configuration as text."""
    return " ".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
        for key, value in values.items()
    )


def input_of(dims):
    return f'input {{ name: "x" data_type: TYPE_FP32 dims: {dims} }}'


def labels(text):
    return parameters(version_labels=text)


#: What is refused, the graph's signature, what is said, and what is written then.
REFUSED = {
    "batching": (
        f"max_batch_size: 4 {input_of([3])}",
        FIXED,
        "set max_batch_size: 0 and give the full dims",
        f"max_batch_size: 0 {input_of([2, 3])}",
    ),
    "labels": (labels("stable"), OPEN, "such as stable=1,canary=2", labels("stable=1,canary=2")),
    "cache": (
        "max_batch_size: 4 response_cache { enable: true } sequence_batching { }",
        OPEN,
        "Please disable the response cache",
        "max_batch_size: 4 sequence_batching { }",
    ),
    "backend": ('backend: "python"', OPEN, "only 'onnxruntime' is", 'backend: "onnxruntime"'),
    "platform": (
        'platform: "tensorflow"',
        OPEN,
        "only 'onnxruntime_onnx' is served",
        'platform: "onnxruntime_onnx"',
    ),
    "ragged": (
        f"max_batch_size: 0 {input_of([-1, 3])[:-1]} allow_ragged_batch: true }}",
        OPEN,
        "need a max_batch_size above 0",
        f"max_batch_size: 4 {input_of([3])}",
    ),
    "name": ('name: "other"', OPEN, "but its folder is 'm'", 'name: "m"'),
    "preferred": (
        "max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }",
        OPEN,
        "must be 1 to max_batch_size 4",
        "max_batch_size: 4 dynamic_batching { preferred_batch_size: 4 }",
    ),
    "priority": (
        "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
        OPEN,
        "must be 1 to priority_levels 2",
        "max_batch_size: 4 dynamic_batching { priority_levels: 2 default_priority_level: 2 }",
    ),
    "isolation": (
        parameters(isolation="own"),
        OPEN,
        "not process",
        parameters(isolation="process"),
    ),
    "memory": (
        parameters(isolation="process", isolation_memory_mb="0"),
        OPEN,
        "isolation_memory_mb is '0', not 1 to",
        parameters(isolation="process", isolation_memory_mb="1"),
    ),
    "switch": (
        parameters(enable_mem_arena="off"),
        OPEN,
        "not 1 or 0",
        parameters(enable_mem_arena="0"),
    ),
    "arena": (
        parameters(enable_mem_arena="0", **{"memory.enable_memory_arena_shrinkage": "cpu:0"}),
        OPEN,
        "needs enable_mem_arena, which is off",
        parameters(enable_mem_arena="1", **{"memory.enable_memory_arena_shrinkage": "cpu:0"}),
    ),
    "level": (
        "optimization { graph { level: 3 } }",
        OPEN,
        "not one of -1, 0, 1 and 2",
        "optimization { graph { level: 2 } }",
    ),
    "resources": (
        'instance_group { rate_limiter { resources { name: "R" count: 1 } '
        'resources { name: "r" count: 1 } } }',
        OPEN,
        "each resource once, by its name",
        'instance_group { rate_limiter { resources { name: "R" count: 1 } } }',
    ),
    "one device": (
        "instance_group { kind: KIND_CPU gpus: 0 }",
        OPEN,
        "instance_group of KIND_CPU names gpus [0]",
        "instance_group { kind: KIND_CPU }",
    ),
}


@pytest.mark.parametrize(("refused", "graph", "words", "done"), REFUSED.values(), ids=REFUSED)
def test_what_is_said_of_a_configuration_is_accepted(tmp_path, refused, graph, words, done):
    with pytest.raises(ModelLoadError, match=re.escape(words)):
        load(tmp_path, refused, graph)
    load(tmp_path, done, graph)
