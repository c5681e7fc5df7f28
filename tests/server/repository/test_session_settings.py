"""onnxruntime's settings in config.pbtxt, by Triton's names: read, honoured, or refused by name."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format

from zoo_proto.model_config_pb2 import ModelConfig
from zoo_server.backends.onnxruntime.session_options import run_options, session_options
from zoo_server.errors import ModelLoadError
from zoo_server.inference.cancellation import Cancellation
from zoo_server.model_config import Accelerator, GraphOptimization, Placement
from zoo_server.repository.session_settings import session_settings


def parameter(key, value):
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def read(text):
    return session_settings(text_format.Parse(text, ModelConfig()))


def options_of(text, threads=4):
    """Return onnxruntime's own options for a configuration."""
    return session_options(
        onnxruntime, Path("1/model.onnx"), threads, read(text), arena=True, says_why=False
    )


def test_threads_and_execution_mode():
    """Across nodes there is one thread, unless they run in parallel."""
    mode, inter = parameter("execution_mode", 1), parameter("inter_op_thread_count", 3)
    assert read(parameter("intra_op_thread_count", 2)).threads == 2
    alone, parallel, both = options_of(inter), options_of(mode), options_of(mode + inter)

    assert alone.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert parallel.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert [each.inter_op_num_threads for each in (alone, parallel, both)] == [1, 4, 3]


@pytest.mark.parametrize(
    ("level", "expected"), [(-1, "BASIC"), (0, "ALL"), (1, "EXTENDED"), (2, "NONE")]
)
def test_graph_optimization_level(level, expected):
    """Triton's numbers, of which 2 is none at all."""
    text = f"optimization {{ graph {{ level: {level} }} }}"
    name = "ORT_DISABLE_ALL" if expected == "NONE" else f"ORT_ENABLE_{expected}"

    assert read(text).optimization is GraphOptimization[expected]
    assert options_of(text).graph_optimization_level == getattr(
        onnxruntime.GraphOptimizationLevel, name
    )


def test_memory():
    """The arena and the pattern are on unless they are switched off."""
    off = options_of(parameter("enable_mem_arena", 0) + parameter("enable_mem_pattern", "false"))
    on = options_of("")

    assert (on.enable_cpu_mem_arena, on.enable_mem_pattern) == (True, True)
    assert (off.enable_cpu_mem_arena, off.enable_mem_pattern) == (False, False)


def test_memory_is_given_back_after_each_run():
    """The entry is one of a run's, also of runs that nothing can cancel."""
    key = "memory.enable_memory_arena_shrinkage"
    make = run_options(onnxruntime, read(parameter(key, "cpu:0")), arena=True)
    plain = run_options(onnxruntime, read(""), arena=True)

    assert make(None, 0).get_run_config_entry(key) == "cpu:0"
    assert make(Cancellation(), 0).get_run_config_entry(key) == "cpu:0"
    assert plain(None, 4096) is None


def test_memory_is_given_back_after_a_large_run():
    """Where there is an arena: onnxruntime fails a run that is to shrink one that is not there."""
    key, large = "memory.enable_memory_arena_shrinkage", 1 << 26
    plain = run_options(onnxruntime, read(""), arena=True)
    graphics = run_options(onnxruntime, read(parameter(key, "gpu:0")), arena=True)
    without = run_options(onnxruntime, read(parameter("enable_mem_arena", 0)), arena=True)
    bounded = run_options(onnxruntime, read(""), arena=False)

    assert plain(None, large).get_run_config_entry(key) == "cpu:0"
    assert graphics(None, large).get_run_config_entry(key) == "gpu:0"
    assert without(None, large) is bounded(None, large) is None


def test_session_entries():
    """Those that are known reach onnxruntime, and win over the server's own."""
    options = options_of(
        parameter("session.set_denormal_as_zero", 1)
        + parameter("session.intra_op.allow_spinning", 1)
    )

    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_accelerators():
    """Triton's names of TensorRT's options become onnxruntime's; CUDA's are passed on."""
    read_settings = read(
        """optimization { execution_accelerators {
          gpu_execution_accelerator { name: "tensorrt"
            parameters { key: "precision_mode" value: "FP16" }
            parameters { key: "max_workspace_size_bytes" value: "1073741824" }
            parameters { key: "trt_engine_cache_enable" value: "true" } }
          gpu_execution_accelerator { name: "cuda"
            parameters { key: "use_ep_level_unified_stream" value: "1" } }
          cpu_execution_accelerator { name: "openvino" } } }"""
    )
    first, second, third = read_settings.accelerators

    assert dict(first.options) == {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1073741824",
        "trt_engine_cache_enable": "1",
    }
    assert second == Accelerator(name="cuda", options=(("use_ep_level_unified_stream", "1"),))
    assert third == Accelerator(name="openvino")


def test_cudas_older_parameters():
    """Numbers stand for onnxruntime's words."""
    text = parameter("cudnn_conv_algo_search", 1) + parameter("gpu_mem_limit", 4294967200)

    assert read(text).cuda == (
        ("cudnn_conv_algo_search", "HEURISTIC"),
        ("gpu_mem_limit", "4294967200"),
    )


def test_instance_group_kind():
    """One kind and one device for all groups: they share one session."""
    assert read("instance_group { kind: KIND_CPU }").placement is Placement.CPU
    assert read("instance_group { count: 2 }").placement is Placement.AUTO
    gpu = read("instance_group { kind: KIND_GPU gpus: 1 }")
    assert (gpu.placement, gpu.device) == (Placement.GPU, 1)


def accelerator(body, which="gpu"):
    return f"optimization {{ execution_accelerators {{ {which}_execution_accelerator {{ {body} }} }} }}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (parameter("intra_op_thread_count", 257), "intra_op_thread_count is '257', not 0 to 256"),
        (parameter("inter_op_thread_count", -1), "inter_op_thread_count is '-1', not 0 to 256"),
        (parameter("execution_mode", 2), "execution_mode is '2', not 1 or 0"),
        (parameter("enable_mem_arena", "x"), "enable_mem_arena is 'x', not 1 or 0"),
        (parameter("memory.enable_memory_arena_shrinkage", "cpu:1"), "is 'cpu:1', not cpu:0"),
        (
            parameter("memory.enable_memory_arena_shrinkage", "cpu:0")
            + parameter("enable_mem_arena", 0),
            "needs enable_mem_arena, which is off",
        ),
        (parameter("session.save_model_format", "ORT"), "session.save_model_format is not served"),
        (parameter("cudnn_conv_algo_search", 3), "cudnn_conv_algo_search is '3', not 0 or 1 or 2"),
        ("optimization { graph { level: 3 } }", "level is 3, not one of -1, 0, 1 and 2"),
        ("instance_group { kind: KIND_CPU gpus: 0 }", "KIND_CPU names gpus"),
        ("instance_group { kind: KIND_GPU gpus: [0, 1] }", "a model runs on one device"),
        (
            "instance_group [{ kind: KIND_GPU }, { kind: KIND_CPU }]",
            "asks for 2 kinds and gpus []: a model runs on one device",
        ),
        (accelerator('name: "npu"'), "unknown gpu_execution_accelerator 'npu' is requested"),
        (accelerator('name: "cuda"', "cpu"), "unknown cpu_execution_accelerator 'cuda'"),
        (
            accelerator('name: "tensorrt" parameters { key: "a" value: "1" }'),
            "unknown parameter 'a' of the accelerator tensorrt",
        ),
        (
            accelerator('name: "tensorrt" parameters { key: "precision_mode" value: "FP8" }'),
            "precision_mode is 'FP8'",
        ),
        (
            accelerator(
                'name: "tensorrt" parameters { key: "trt_extra_plugin_lib_paths" value: "/x.so" }'
            ),
            "it loads native code",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(text, reason):
    """By its name, with the value seen and what it may be."""
    with pytest.raises(ModelLoadError) as caught:
        read(text)

    assert reason in str(caught.value)


def test_a_model_with_all_of_it_answers(repository, graphs, serve):
    """Over the wire; one that asks for what this machine lacks says so, and stops no other."""
    everything = (
        parameter("intra_op_thread_count", 1)
        + parameter("inter_op_thread_count", 2)
        + parameter("execution_mode", 1)
        + parameter("enable_mem_pattern", 0)
        + parameter("memory.enable_memory_arena_shrinkage", "cpu:0")
        + parameter("session.set_denormal_as_zero", 1)
        + "optimization { graph { level: 2 } } instance_group { kind: KIND_CPU }"
    )
    repository.add("m", graphs.identity(), everything)
    repository.add("absent", graphs.identity(), accelerator('name: "migraphx"'))
    row = np.ones((1, 4), np.float32)
    with serve(repository.path) as wire:
        assert (wire.infer("m", x=row)["y"] == row).all()
        model = wire.server.catalog.find("m", "")
        reasons = {entry.name: entry.reason for entry in wire.server.catalog.entries()}

    assert (model.provider, model.runner.graph.threads) == ("cpu", 2)
    assert "execution provider 'migraphx' is not available" in reasons["absent"]
