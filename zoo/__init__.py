"""Layer Zoo: the tutorial's Keras layers as trained, exported and served models.

`zoo.export_model(model, path)` writes any built Keras model as an ONNX file, proven equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.export_file import ExportReport, export_model

__all__ = ["ExportReport", "export_model"]


def __getattr__(name: str) -> Any:
    """Import the exporter on first use: `import zoo` stays free of frameworks."""
    if name in __all__:
        from zoo import export_file

        return getattr(export_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
