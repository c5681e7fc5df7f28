"""onnxruntime's settings in config.pbtxt, by the names of Triton's onnxruntime backend.

    parameters { key: "execution_mode" value { string_value: "1" } }
    optimization { graph { level: 1 } execution_accelerators { … } }
    instance_group { kind: KIND_CPU }

What has no effect here is named in the log (idle_settings); what cannot be meant is refused by name.
"""

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from zoo_proto import model_config_pb2
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import Accelerator, GraphOptimization, Placement, SessionSettings

ModelConfig = model_config_pb2.ModelConfig

#: Threads of one session, each with a stack of its own.
_MAX_THREADS = 256

#: onnxruntime_session_options_config_keys.h: those that change how a graph runs, not which files are
#: read or written or what native code is loaded.
_ENTRIES = frozenset(
    {
        "session.allow_released_opsets_only", "session.disable_aot_function_inlining",
        "session.disable_cpu_ep_fallback", "session.disable_double_qdq_remover",
        "session.disable_prepacking", "session.disable_quant_qdq", "session.dynamic_block_base",
        "session.enable_quant_qdq_cleanup", "session.force_spinning_stop",
        "session.inter_op.allow_spinning", "session.intra_op.allow_spinning",
        "session.qdqisint8allowed", "session.set_denormal_as_zero",
        "session.use_device_allocator_for_initializers", "session.x64quantprecision",
    }
)  # fmt: skip

#: Triton's older way to give options of the CUDA provider, and the words for its numbers.
_CUDA: dict[str, dict[str, str]] = {
    "arena_extend_strategy": {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"},
    "cudnn_conv_algo_search": {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"},
    "do_copy_in_default_stream": {"0": "0", "1": "1"},
    "gpu_mem_limit": {},
}

_SHRINKAGE = "memory.enable_memory_arena_shrinkage"

#: Parameters that Triton knows and that change nothing here: instances share one session always, and
#: a model without max_batch_size says it itself.
_IDLE_PARAMETERS = frozenset({"default_max_batch_size", "share_session_between_instances"})

#: Of `optimization`.
_IDLE_FIELDS = frozenset(
    {
        "cuda", "eager_batching", "gather_kernel_buffer_threshold", "input_pinned_memory",
        "output_pinned_memory", "priority",
    }
)  # fmt: skip

_LEVELS = {
    -1: GraphOptimization.BASIC,
    0: GraphOptimization.ALL,
    1: GraphOptimization.EXTENDED,
    2: GraphOptimization.NONE,
}

#: The accelerators of each list, by our names of providers, which are Triton's where it has one.
_GPU = ("cuda", "tensorrt", "migraphx", "rocm", "webgpu")
_CPU = ("openvino", "xnnpack")

#: Options of providers that load native code from a path.
_LOADS_CODE = frozenset({"trt_extra_plugin_lib_paths"})

#: Triton's names for options of TensorRT; those that begin with trt_ are onnxruntime's own.
_TENSORRT = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_PRECISIONS: dict[str, dict[str, str]] = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}


def session_settings(config: ModelConfig | None) -> SessionSettings:
    """Return how onnxruntime is to run a model; ModelLoadError for what it cannot be asked."""
    if config is None:
        return SessionSettings()
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    read = _Parameters(parameters)
    placement, device = _placement(config)
    settings = SessionSettings(
        threads=read.number("intra_op_thread_count", _MAX_THREADS),
        inter_op_threads=read.number("inter_op_thread_count", _MAX_THREADS),
        parallel=read.switch("execution_mode", default=False),
        optimization=_optimization(config),
        arena=read.switch("enable_mem_arena", default=True),
        pattern=read.switch("enable_mem_pattern", default=True),
        shrinks=read.matching(
            _SHRINKAGE, r"(cpu:0|gpu:\d{1,3})(;(cpu:0|gpu:\d{1,3}))*", "cpu:0 or alike"
        ),
        entries=tuple(_entries(parameters)),
        cuda=tuple(_cuda(parameters)),
        accelerators=tuple(_accelerators(config)),
        placement=placement,
        device=device,
    )
    if settings.shrinks and not settings.arena:
        raise ModelLoadError(f"parameter {_SHRINKAGE} needs enable_mem_arena, which is off")
    return settings


def idle_settings(config: ModelConfig) -> list[str]:
    """Return the settings present that are accepted and change nothing."""
    names = [f"parameter {key}" for key in sorted(config.parameters) if key in _IDLE_PARAMETERS]
    fields = config.optimization.ListFields() if config.HasField("optimization") else []
    return [
        *(f"optimization.{field.name}" for field, _ in fields if field.name in _IDLE_FIELDS),
        *names,
    ]


class _Parameters:
    """`parameters` by their names, each read as what it has to be."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def number(self, key: str, most: int) -> int:
        """Return a number from 0 on; 0 where there is none."""
        text = self._values.get(key, "0")
        known = text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= most
        return int(text) if known else self._refuse(key, f"0 to {most}")

    def switch(self, key: str, *, default: bool) -> bool:
        """Return 1 or 0, or true or false, as truth."""
        text = self._values.get(key)
        if text is None:
            return default
        known = {"1": True, "true": True, "0": False, "false": False}
        return known[text.lower()] if text.lower() in known else self._refuse(key, "1 or 0")

    def matching(self, key: str, pattern: str, expected: str) -> str:
        """Return a text of a form; empty where there is none."""
        text = self._values.get(key, "")
        return text if not text or re.fullmatch(pattern, text) else self._refuse(key, expected)

    def _refuse(self, key: str, expected: str) -> NoReturn:
        raise ModelLoadError(f"parameter {key} is '{self._values[key][:40]}', not {expected}")


def _entries(parameters: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key in sorted(parameters):
        if not key.startswith("session."):
            continue
        if key not in _ENTRIES:
            raise ModelLoadError(
                f"parameter {key} is not served; of onnxruntime's session entries these are: "
                f"{', '.join(sorted(_ENTRIES))}"
            )
        yield key, parameters[key]


def _cuda(parameters: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key in sorted(_CUDA.keys() & parameters.keys()):
        words, text = _CUDA[key], parameters[key]
        if text not in words and (words or not (text.isascii() and text.isdigit())):
            expected = " or ".join(words) or "a number of bytes"
            raise ModelLoadError(f"parameter {key} is '{text[:40]}', not {expected}")
        yield key, words.get(text, text)


def _optimization(config: ModelConfig) -> GraphOptimization:
    level = config.optimization.graph.level
    if level not in _LEVELS:
        raise ModelLoadError(f"optimization graph level is {level}, not one of -1, 0, 1 and 2")
    return _LEVELS[level]


def _placement(config: ModelConfig) -> tuple[Placement, int]:
    """Return on what a model runs, and the GPU's number; all groups share one session."""
    kinds = {group.kind for group in config.instance_group}
    gpus = sorted({gpu for group in config.instance_group for gpu in group.gpus})
    kind = model_config_pb2.ModelInstanceGroup
    if kind.KIND_CPU in kinds and gpus:
        raise ModelLoadError(f"instance_group of KIND_CPU names gpus {gpus}")
    if len(kinds) > 1 or len(gpus) > 1:
        raise ModelLoadError(
            f"instance_group asks for {len(kinds)} kinds and gpus {gpus}: a model runs on one device"
        )
    if kinds == {kind.KIND_CPU}:
        return Placement.CPU, 0
    if kinds == {kind.KIND_GPU} or gpus:
        return Placement.GPU, gpus[0] if gpus else 0
    return Placement.AUTO, 0


def _accelerators(config: ModelConfig) -> Iterator[Accelerator]:
    written = config.optimization.execution_accelerators
    for field, names in (("gpu_execution_accelerator", _GPU), ("cpu_execution_accelerator", _CPU)):
        for accelerator in getattr(written, field):
            name = accelerator.name
            if name not in names:
                raise ModelLoadError(
                    f"unknown {field} '{name[:40]}' is requested; known: {', '.join(names)}"
                )
            convert = _CONVERTERS.get(name, _as_it_is)
            options: dict[str, str] = {}
            for key, value in sorted(accelerator.parameters.items()):
                if key in _LOADS_CODE:
                    raise ModelLoadError(
                        f"{field} {name}: {key} is not served: it loads native code"
                    )
                options |= convert(key, value)
            yield Accelerator(name=name, options=tuple(options.items()))


def _as_it_is(key: str, value: str) -> dict[str, str]:
    return {key: value}


def _tensorrt(key: str, value: str) -> dict[str, str]:
    """Return onnxruntime's option for one of Triton's."""
    if key == "precision_mode":
        if value not in _PRECISIONS:
            raise ModelLoadError(
                f"tensorrt precision_mode is '{value[:40]}', not one of {', '.join(_PRECISIONS)}"
            )
        return _PRECISIONS[value]
    name = _TENSORRT.get(key, key)
    if not name.startswith("trt_"):
        raise ModelLoadError(f"unknown parameter '{key[:40]}' of the accelerator tensorrt")
    return {name: {"true": "1", "false": "0"}.get(value.lower(), value)}


_CONVERTERS: dict[str, Callable[[str, str], dict[str, str]]] = {"tensorrt": _tensorrt}
