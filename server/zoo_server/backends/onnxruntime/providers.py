"""Execution providers: short names, the options for onnxruntime, and a check that it uses them.

onnxruntime only warns when it cannot use a provider and then runs on the CPU (onnxruntime#23372), so
what a wheel lists says little: what counts is what the created session has.
"""

from collections.abc import Sequence

from zoo_server.config import PROVIDERS
from zoo_server.errors import ProviderError

CPU = "CPUExecutionProvider"

_ONNXRUNTIME_NAMES = {
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
}
assert tuple(_ONNXRUNTIME_NAMES) == PROVIDERS

_SHORT_NAMES = {full: short for short, full in _ONNXRUNTIME_NAMES.items()}

#: What `auto` tries, best first. TensorRT is left to those who name it: it builds engines for
#: minutes. So are those whose answers or coverage differ much from the CPU's.
AUTO = ("cuda", "migraphx", "rocm", "cpu")


def to_ask_for(provider: str, available: Sequence[str]) -> list[str]:
    """Return onnxruntime's names to create a session with, best first, the CPU always last.

    `available` is what the wheel was built with; ProviderError if a named one is not among it.
    """
    if provider == "auto":
        names = [_ONNXRUNTIME_NAMES[name] for name in AUTO]
        return [name for name in names if name in available]
    name = _ONNXRUNTIME_NAMES[provider]
    if name not in available:
        raise ProviderError(_refusal(provider, "this onnxruntime was built without it", available))
    return [name] if name == CPU else [name, CPU]


def taken(provider: str, session_has: Sequence[str]) -> str:
    """Return the short name of the provider that a created session runs on.

    ProviderError if one was asked for by name and the session does not have it.
    """
    if provider != "auto" and _ONNXRUNTIME_NAMES[provider] not in session_has:
        reason = "onnxruntime could not set it up (a driver or library is missing)"
        raise ProviderError(_refusal(provider, reason, session_has))
    return short_name(session_has[0])


def short_name(name: str) -> str:
    """Return "cuda" for "CUDAExecutionProvider"; a provider we have no name for keeps its own."""
    return _SHORT_NAMES.get(name, name)


def _refusal(provider: str, reason: str, names: Sequence[str]) -> str:
    usable = ", ".join(_SHORT_NAMES[name] for name in names if name in _SHORT_NAMES)
    return f"execution provider '{provider}' is not available: {reason}; available: {usable}"
