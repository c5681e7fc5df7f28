"""Execution providers: short names, which ones a session gets, and a check that it has them.

    accelerators of config.pbtxt ──> instance_group's kind ──> --provider ──> the CPU, always last

The first has the first choice of a graph's nodes, and each next one of what is left. What is named must be
there, or the load fails; only `auto` does with less. onnxruntime only warns when it cannot use a provider
and then runs on the CPU (onnxruntime#23372), so what a wheel lists says little: what counts is what the
created session has.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from zoo_server.backends.onnxruntime.plugins import PACKAGES
from zoo_server.config import PROVIDERS
from zoo_server.errors import ProviderError
from zoo_server.model_config import Placement, SessionSettings

CPU = "CPUExecutionProvider"

ONNXRUNTIME_NAMES = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
assert tuple(ONNXRUNTIME_NAMES) == PROVIDERS

_SHORT_NAMES = {full: short for short, full in ONNXRUNTIME_NAMES.items()}

#: What `auto` tries, best first. TensorRT is left to those who name it: it builds engines for
#: minutes. So are those whose answers or coverage differ much from the CPU's.
AUTO = ("cuda", "migraphx", "rocm", "cpu")

#: Those that KIND_GPU is content with, if the server runs on one.
_ON_GPU = frozenset({"cuda", "tensorrt", "rocm", "migraphx", "dml", "webgpu"})

#: Those that take the GPU's number.
_TAKE_DEVICE = frozenset({"cuda", "tensorrt", "rocm", "migraphx"})


#: OpenVINO's options of which each may say how many threads it uses.
_OPENVINO_THREADS = frozenset({"load_config", "num_of_threads"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """The providers of one session by onnxruntime's names, best first, with their options."""

    providers: tuple[tuple[str, dict[str, str]], ...]
    #: Short names of those that the session must have.
    required: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.providers]


def choose(
    provider: str, settings: SessionSettings, available: Sequence[str], threads: int = 0
) -> ProviderChoice:
    """Return what to create a session with; `provider` is what --provider says.

    `available` is what onnxruntime was built with, and its plugins; ProviderError if a named one is not
    among it. `threads` is what a provider with a pool of its own may use, 0 for its own choice.
    """
    options = {each.name: dict(each.options) for each in settings.accelerators}
    required = list(options)
    if settings.placement is Placement.GPU and not _ON_GPU & options.keys():
        required.append(_on_gpu(provider, available))
    elif settings.placement is Placement.AUTO and not options and provider != "auto":
        required.append(provider)
    for name in required:
        if ONNXRUNTIME_NAMES[name] not in available:
            raise ProviderError(_refusal(name, _absent(name), available))
    if "gpu" in settings.shrinks and not _ON_GPU & set(required):
        raise ProviderError(
            f"memory.enable_memory_arena_shrinkage is '{settings.shrinks}', and the model does not ask "
            "for a GPU's provider"
        )
    tried = list(required)
    if "tensorrt" in required or (settings.placement is Placement.AUTO and not required):
        tried += [name for name in AUTO if ONNXRUNTIME_NAMES[name] in available]
    names = dict.fromkeys([*tried, "cpu"])
    return ProviderChoice(
        providers=tuple(
            (ONNXRUNTIME_NAMES[name], _options(name, options.get(name, {}), settings, threads))
            for name in names
        ),
        required=tuple(required),
    )


def _absent(name: str) -> str:
    """Say why a provider is not there, and what would bring it."""
    package = PACKAGES.get(ONNXRUNTIME_NAMES[name])
    hint = f", and {package} is not installed" if package else ""
    return f"this onnxruntime was built without it{hint}"


def _on_gpu(provider: str, available: Sequence[str]) -> str:
    """Return the provider for a model of KIND_GPU."""
    if provider in _ON_GPU:
        return provider
    if provider == "auto":
        for name in AUTO:
            if name in _ON_GPU and ONNXRUNTIME_NAMES[name] in available:
                return name
    raise ProviderError(
        f"instance_group asks for KIND_GPU, and with --provider {provider} no GPU is available here"
    )


def _options(
    name: str, options: dict[str, str], settings: SessionSettings, threads: int
) -> dict[str, str]:
    if name == "cuda":
        options = {**dict(settings.cuda), **options}
    if name == "openvino" and threads and not _OPENVINO_THREADS & options.keys():
        load_config = {"CPU": {"INFERENCE_NUM_THREADS": str(threads)}}
        options = {**options, "load_config": json.dumps(load_config)}
    if name in _TAKE_DEVICE and settings.device:
        options = {"device_id": str(settings.device), **options}
    return options


def session_provider(choice: ProviderChoice, session_has: Sequence[str]) -> str:
    """Return the short name of the provider that a created session runs on.

    ProviderError if the session does not have one that it must have.
    """
    for name in choice.required:
        if ONNXRUNTIME_NAMES[name] not in session_has:
            reason = "onnxruntime could not set it up (a driver or library is missing)"
            raise ProviderError(_refusal(name, reason, session_has))
    return short_name(session_has[0])


def short_name(name: str) -> str:
    """Return "cuda" for "CUDAExecutionProvider"; a provider we have no name for keeps its own."""
    return _SHORT_NAMES.get(name, name)


def _refusal(provider: str, reason: str, names: Sequence[str]) -> str:
    usable = ", ".join(_SHORT_NAMES[name] for name in names if name in _SHORT_NAMES)
    return f"execution provider '{provider}' is not available: {reason}; available: {usable}"
