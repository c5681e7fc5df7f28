"""The operator sets (opsets) that an export supports. No framework."""

from __future__ import annotations

from zoo.errors import UsageError

#: Read by every runtime tried, the oldest supported onnxruntime included; onnx's own defaults are
#: newer than most of them.
OPSET = 17

#: The supported operator sets, each with the lowest IR version that allows it.
IR_VERSIONS = {15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


def check_opset(opset: int) -> None:
    """Raise UsageError for an unsupported operator set."""
    if type(opset) is not int or opset not in IR_VERSIONS:
        raise UsageError(f"opset {opset!r} is not one of {min(IR_VERSIONS)} to {max(IR_VERSIONS)}")
