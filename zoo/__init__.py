"""Layer Zoo: trains Keras models, exports them to ONNX, proves the files equal, and serves them.

    zoo.list_models("cnn*"), zoo.info(name)   what is published
    zoo.load(name).predict(x)                 ask a model here, or on a server
    zoo.compare([name, name], x)              ask several
    zoo.load_keras(name)                      the trained Keras model, to train on
    zoo.export_model(model, path)             any built Keras model as an ONNX file, proven equal

Everything but the last two works without TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.export.from_model import export_model
    from zoo.models.compare import compare
    from zoo.models.keras_model import load_keras
    from zoo.models.model import load
    from zoo.models.published import info, list_models

__all__ = ["compare", "export_model", "info", "list_models", "load", "load_keras"]

_PLACES = {
    "compare": "zoo.models.compare",
    "export_model": "zoo.export.from_model",
    "info": "zoo.models.published",
    "list_models": "zoo.models.published",
    "load": "zoo.models.model",
    "load_keras": "zoo.models.keras_model",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `import zoo` alone stays light."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
