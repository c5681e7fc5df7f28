"""Layer Zoo: trains Keras models, exports them to ONNX, proves the files equal, and serves them.

`zoo.export_model(model, path)` writes any built Keras model as an ONNX file, proven equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.export.from_model import export_model

__all__ = ["export_model"]


def __getattr__(name: str) -> Any:
    """Import the exporter on first use: `import zoo` alone stays light."""
    if name == "export_model":
        from zoo.export.from_model import export_model

        return export_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
