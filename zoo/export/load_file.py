"""Loads a model file as a Keras model, without running code in it unless it is trusted.

What Keras 3 cannot load of tf.keras 2 is loaded by tf-keras, where that is installed. It is no
dependency: it wants TensorFlow under another name than `tensorflow-cpu`, and few need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.errors import CheckFailed
from zoo.export.file_formats import SAVED_MODEL, loadable_format, saved_by

#: What becomes of a model of tf.keras 2 in any environment that can load it.
CONVERT = "import tf_keras; tf_keras.models.load_model({source!r}).export({target!r})"


def definitions(modules: Sequence[str]) -> dict[str, Any]:
    """Run Python files and return the classes and functions that they define, by name.

    Raises UsageError naming the file, and the line, when one cannot be run.
    """
    from zoo.recipes.registry import run_file
    from zoo.training.framework import import_keras

    import_keras()  # before a file does, as every command of the zoo starts it
    return {
        name: value
        for module in map(run_file, map(Path, modules))
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def load(path: Path, *, trust: bool = False, custom: Mapping[str, Any] | None = None) -> Any:
    """Load a Keras model from a .keras or .h5 file or a SavedModel.

    `custom`: classes and functions of the caller's that the file may name. Raises UsageError for
    what is no such file, or needs `trust`; CheckFailed for what cannot be loaded.
    """
    if loadable_format(path, trust=trust) == SAVED_MODEL:
        from zoo.export.tensorflow_models import from_saved_model

        return from_saved_model(path)
    from zoo.training.framework import import_keras

    keras, known = import_keras().keras, dict(custom or {})
    try:
        return keras.models.load_model(
            path, custom_objects=known, compile=False, safe_mode=not trust
        )
    except Exception as error:  # a file may name any class, and Keras raises any kind
        if _of_keras_2(path):
            return _by_tf_keras(path, error, trust=trust, custom=known)
        reason = _why(path, error, keras.__version__)
        raise CheckFailed(f"{path}: Keras cannot load it: {reason}") from error


def _of_keras_2(path: Path) -> bool:
    return (saved_by(path) or "").startswith("2.")


def _by_tf_keras(path: Path, keras_3: Exception, *, trust: bool, custom: Mapping[str, Any]) -> Any:
    """Load a model of tf.keras 2. Raises CheckFailed, with what to do, where tf-keras is missing."""
    if find_spec("tf_keras") is None:
        from zoo.convert.function import reason_of

        lines = CONVERT.format(source=path.name, target=path.stem)
        raise CheckFailed(
            f"{path} is from Keras {saved_by(path)}, and Keras 3 cannot load it "
            f"({reason_of(keras_3)[:90]}): pip install --no-deps tf-keras=={_tensorflow()}.*; or, "
            f'where tf-keras is: python -c "{lines}", and zoo export {path.stem} --trust'
        ) from keras_3
    import tf_keras

    from zoo.export.tensorflow_models import from_tf_keras

    try:
        model = tf_keras.models.load_model(
            str(path), custom_objects=dict(custom), compile=False, safe_mode=not trust
        )
    except Exception as error:  # likewise
        reason = _why(path, error, tf_keras.__version__)
        raise CheckFailed(f"{path}: tf-keras cannot load it: {reason}") from error
    return from_tf_keras(model)


def _tensorflow() -> str:
    """Return TensorFlow's version without its patch, which tf-keras's is."""
    from zoo.training.framework import import_keras

    major, minor, *_ = import_keras().tf.__version__.split(".")
    return f"{major}.{minor}"


def _why(path: Path, error: Exception, version: str) -> str:
    """Say in one line why a file was not loaded, and what to do."""
    from zoo.convert.function import reason_of

    text = str(error)
    if ("Lambda" in text and "safe_mode" in text) or "unsafe" in text.lower():
        return "it contains Python code (a Lambda layer): --trust runs it"
    if missing := re.search(r"Could not locate (class|function) '([^']+)'", text):
        return (
            f"it contains the {missing[1]} {missing[2]}, which is not Keras's: name the Python "
            "file that defines it with --module"
        )
    if config := re.search(r"'module': None, 'class_name': '(\w+)'", text):
        return (
            f"it contains the class {config[1]}, which is not Keras's: name the Python "
            "file that defines it with --module"
        )
    reason = reason_of(error)
    writer = saved_by(path)
    if writer in (None, version):
        return reason
    return f"{reason}; it was saved by Keras {writer}, and this is {version}"
