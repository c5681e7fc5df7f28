"""A pytest plugin: lets other projects' export tests call another exporter than their own.

    EXPORTER            zoo, tf2onnx or keras (exporters.py)
    EXPORTER_OUTCOMES   a file, to which one line a test is added

Their tests stay as they are. Replaced is what they call to export: tf2onnx's `convert_keras`, and
Keras's `export_onnx` and `export_saved_model`, whose SavedModel becomes an ONNX file that
onnxruntime runs where the test loads it.

A refusal that says what to do is followed, as a user would: a model that cannot be exported yet is
exported once the test has called it (by ours, with the rows that it was called on), and the others
with the option that the refusal names. Where that makes states inputs and outputs, they begin as the
model's variables are, and go on from call to call. The test's line then says so.

Rows are cast to the type of the file's input, as Keras casts them to the model's, where both have
one type.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interop.exporters import EXPORTERS, followed

EXPORTER = os.environ.get("EXPORTER", "zoo")
OUTCOMES = os.environ.get("EXPORTER_OUTCOMES", "")

#: Opsets that all three exporters write.
OPSET = 17


def export(
    model: Any, path: str, signature: Any = None, opset: int | None = None, rows: Any = None
) -> None:
    """Write a model by the exporter that was chosen; a folder gets a file of a fixed name."""
    EXPORTERS[EXPORTER](model, _file(path), signature, opset or OPSET, rows)
    _keep_states(model, _file(path))


def _file(path: str) -> str:
    return f"{path}/serve.onnx" if Path(path).is_dir() else str(path)


def _convert_keras(model: Any, name: Any = None, *_: Any, **options: Any) -> Any:
    """Stand in for tf2onnx.keras2onnx_api.convert_keras."""
    if options.get("channel_first_inputs"):
        model = _channels_first(model, options["channel_first_inputs"])
    try:
        return _converted(model, options.get("initial_types"))
    except Exception as error:  # whatever an exporter raises, the test's call may mend
        pending[id(model)] = _Pending(error)
        return pending[id(model)]


def _converted(model: Any, signature: Any, rows: Any = None) -> Any:
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, str(path), signature, rows=rows)
        converted = onnx.load(path)
    if not hasattr(model, "input_names"):  # which Keras 2 had, and tests feed by
        object.__setattr__(model, "input_names", [value.name for value in converted.graph.input])
    if _typed_as_recorded(converted, model):
        converted.metadata_props.add(key=CAST, value="as Keras does")
    return converted


def _typed_as_recorded(converted: Any, model: Any) -> bool:
    """Whether a file's inputs have the types that Keras recorded for the model's."""
    import onnx

    recorded = [str(tensor.dtype) for tensor in getattr(model, "inputs", None) or []]
    elements = [value.type.tensor_type.elem_type for value in converted.graph.input]
    return bool(recorded) and sorted(recorded) == sorted(
        str(onnx.helper.tensor_dtype_to_np_dtype(element)) for element in elements
    )


#: The property of a file whose rows are cast.
CAST = "rows are cast"


def _patch_casting() -> None:
    """Cast what a session of such a file is fed to the types of its inputs."""
    import onnxruntime

    class Casting(onnxruntime.InferenceSession):  # type: ignore[misc, name-defined]  # no types
        def run(self, names: Any, feeds: Any, *arguments: Any) -> Any:
            if CAST in self.get_modelmeta().custom_metadata_map:
                types = {item.name: NUMPY_TYPES.get(item.type) for item in self.get_inputs()}
                feeds = {
                    name: np.asarray(rows).astype(types[name])
                    if types.get(name) and np.asarray(rows).dtype.kind in "biuf"
                    else rows
                    for name, rows in feeds.items()
                }
            return super().run(names, feeds, *arguments)

    onnxruntime.InferenceSession = Casting


#: What onnxruntime calls the types of numbers that Keras casts to.
NUMPY_TYPES = {
    "tensor(float)": "float32", "tensor(int32)": "int32", "tensor(int64)": "int64",
}  # fmt: skip


class _Pending:
    """Stands for a file that could not be written yet; to use it before is the error of then."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.model: Any = None

    def __getattr__(self, name: str) -> Any:
        if self.model is None:
            raise self.error
        return getattr(self.model, name)


#: The models that could not be exported yet.
pending: dict[int, _Pending] = {}


def _patch_waiting() -> None:
    """Export what is pending once its model was called, and let onnx save it."""
    import keras
    import onnx

    predict, save = keras.Model.predict, onnx.save_model

    def predict_and_export(self: Any, x: Any, *arguments: Any, **options: Any) -> Any:
        answer = predict(self, x, *arguments, **options)
        if id(self) in pending:
            waiting = pending.pop(id(self))
            waiting.model = _converted(self, None, x)
            followed.append("given the test's rows" if EXPORTER == "zoo" else "called first")
        return answer

    def save_model(proto: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(proto, _Pending):
            if proto.model is None:
                raise proto.error
            proto = proto.model
        return save(proto, *arguments, **options)

    keras.Model.predict = predict_and_export
    onnx.save_model = save_model


def _channels_first(model: Any, names: list[str]) -> Any:
    """Put a Permute before the inputs that the test wants with the channels first."""
    import keras

    inputs, values = [], []
    for known in model.inputs:
        batch, *space, channels = known.shape
        moved = known.name.split("/")[0] in names
        shape = (batch, channels, *space) if moved else known.shape
        inputs.append(keras.Input(batch_shape=shape, name=known.name))
        order = (*range(2, len(shape)), 1)
        values.append(keras.layers.Permute(order)(inputs[-1]) if moved else inputs[-1])
    return keras.Model(inputs, model(values if len(values) > 1 else values[0]))


#: What the states of a file begin with, by its path: the values of the model's variables.
begins: dict[str, dict[str, np.ndarray]] = {}


def _keep_states(model: Any, file: str) -> None:
    """Keep the variables that a file has as inputs, as whoever runs it would."""
    if "states='inputs'" in followed:
        begins[file] = {
            "_".join(variable.path.split("/")[-2:]) + "_before": np.array(variable)
            for variable in model.variables
        }


class _Served:
    """Stands in for a loaded SavedModel: an endpoint runs its ONNX file."""

    def __init__(self, path: str, *_: Any, **__: Any) -> None:
        self._path = path
        self._runs: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._runs:
            self._runs[name] = self._loaded(name)
        return self._runs[name]

    def _loaded(self, name: str) -> Any:
        import onnxruntime
        import tensorflow as tf

        folder = Path(self._path)
        file = folder / f"{name}.onnx" if folder.is_dir() else folder
        session = onnxruntime.InferenceSession(file)
        stored = session.get_modelmeta().custom_metadata_map.get("states", "")
        handed = dict(pair.split("=") for pair in stored.split(",") if pair)
        current = dict(begins.get(str(file), {}))

        def run(*arguments: Any, **named: Any) -> Any:
            inputs = [item for item in session.get_inputs() if item.name not in handed]
            leaves = [_array(leaf) for leaf in tf.nest.flatten([arguments, named])]
            if len(leaves) != len(inputs):
                raise AssertionError(f"{len(leaves)} tensors for {[i.name for i in inputs]}")
            feeds = {item.name: leaf for item, leaf in zip(inputs, leaves, strict=True)}
            feeds |= {before: current[before] for before in handed}
            names = [item.name for item in session.get_outputs()]
            arrays = dict(zip(names, session.run(None, feeds), strict=True))
            current.update({before: arrays.pop(after) for before, after in handed.items()})
            answers = [tf.constant(answer) for answer in arrays.values()]
            return answers[0] if len(answers) == 1 else answers

        return run


def _array(value: Any) -> Any:
    """Return a tensor as onnxruntime takes it."""
    array = np.asarray(value)
    return array.astype(str).astype(object) if array.dtype.kind in "SO" else array


class _Archive:
    """Stands in for Keras's ExportArchive, as far as its endpoints are models."""

    def __init__(self) -> None:
        self._endpoints: dict[str, tuple[Any, Any]] = {}
        self._tracked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.endswith("variables"):
            return [v for model in self._tracked for v in getattr(model, name)]
        return lambda *_, **__: pytest.skip("concerns the SavedModel format alone")

    def track(self, resource: Any) -> None:
        """Keep a model for the lists of variables: an ONNX file holds what its model needs."""
        self._tracked.append(resource)

    def add_endpoint(self, name: str, fn: Any, input_signature: Any = None, **_: Any) -> Any:
        """Keep a model for `write_out`."""
        import keras

        model = getattr(fn, "__self__", fn)
        if not isinstance(model, keras.Model):
            pytest.skip("exports functions and layers, which are no models")
        self._endpoints[name] = (model, input_signature)
        return fn

    def write_out(self, path: str, *_: Any, **__: Any) -> None:
        """Write one file an endpoint."""
        Path(path).mkdir(exist_ok=True)
        for name, (model, signature) in self._endpoints.items():
            export(model, f"{path}/{name}.onnx", signature)


class _GraphFunctionType:
    """Stands in for onnxconverter_common's, with the type that the tests ask of it."""

    @staticmethod
    def I32(shape: list[Any]) -> Any:  # its name there
        """Return a specification of integers; sizes that have names are open."""
        import tensorflow as tf

        return tf.TensorSpec([None if isinstance(s, str) else s for s in shape], tf.int32)


def _patch_tf2onnx() -> None:
    """Put a module of ours in the place of tf2onnx's, which newer onnx cannot import."""
    stand_in: Any = types.ModuleType("tf2onnx.keras2onnx_api")
    stand_in.convert_keras = _convert_keras
    stand_in.get_maximum_opset_supported = lambda: OPSET
    sys.modules["tf2onnx.keras2onnx_api"] = stand_in
    if importlib.util.find_spec("onnxconverter_common") is None:  # of which they ask only these
        sys.modules["onnxconverter_common"] = types.ModuleType("onnxconverter_common")
        sys.modules["onnxconverter_common.onnx_ex"] = stand_in
        types_of: Any = types.ModuleType("onnxconverter_common.onnx_fx")
        types_of.GraphFunctionType = _GraphFunctionType
        sys.modules["onnxconverter_common.onnx_fx"] = types_of


def _patch_keras() -> None:
    import keras
    from keras.src.export import onnx, saved_model

    original = onnx.export_onnx

    def export_onnx(
        model: Any, path: str, verbose: Any = None, input_signature: Any = None,
        opset_version: int | None = None, **_: Any,
    ) -> None:  # fmt: skip
        export(model, path, input_signature, opset_version)

    def export_saved_model(
        model: Any, path: str, verbose: Any = None, input_signature: Any = None, **_: Any
    ) -> None:
        export(model, path, input_signature)

    export_onnx.original = original  # type: ignore[attr-defined]  # for _by_keras
    onnx.export_onnx = export_onnx
    saved_model.export_saved_model = export_saved_model
    saved_model.ExportArchive = _Archive
    keras.Model.export = export_saved_model


def pytest_configure(config: pytest.Config) -> None:
    """Replace Keras's exporters before any test is imported."""
    _patch_keras()
    _patch_waiting()
    _patch_casting()


#: What says how Keras's own errors are worded, or what its archive refuses.
NOT_ABOUT_EXPORTS = ("_errors", "_signature_error")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose outcome is known from a run that was cut off."""
    lines = Path(OUTCOMES).read_text(encoding="utf-8").splitlines()
    known = {json.loads(line)["test"] for line in lines}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in known])
    items[:] = [item for item in items if item.nodeid not in known]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Replace the loader of SavedModels; skip what compares words."""
    import tensorflow as tf

    followed.clear()
    pending.clear()
    if item.name.endswith(NOT_ABOUT_EXPORTS):
        pytest.skip("compares the words of Keras's own errors")
    assert tf.saved_model.load  # loads the module: a lazy loader would forget what is set on it
    tf.saved_model.load = _Served


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write down the files that cannot be imported."""
    known = [json.loads(line)["test"] for line in Path(OUTCOMES).read_text("utf-8").splitlines()]
    if report.outcome == "failed" and report.nodeid not in known:
        _write(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write down what became of each test."""
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
        _write(report)


def _write(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = ""
    if report.outcome != "passed":
        lines = str(report.longrepr).strip().splitlines()
        errors = [line[2:].strip() for line in lines if line.startswith("E ")]
        reason = (errors or lines)[0]
    row = {"test": report.nodeid, "outcome": report.outcome, "reason": reason}
    if followed:
        row["followed"] = ", ".join(dict.fromkeys(followed))
    if report.outcome == "failed":
        row["log"] = f"{report.longreprtext}\n{report.capstderr}"
    with Path(OUTCOMES).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


# A conftest imports it before pytest is configured.
_patch_tf2onnx()
