"""Runs an ONNX file in this process, with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import MissingPackage, UsageError, first_line
from zoo.models.interface import Array, InputSpec, Interface, Run, input_spec, words
from zoo.parity.runtimes import import_onnxruntime, open_session
from zoo_server import datatypes

if TYPE_CHECKING:
    pass


class LocalBackend:
    """An onnxruntime session, and what the file's metadata says of it."""

    def __init__(self, path: Path, providers: Sequence[str]) -> None:
        """Open the file; raises UsageError for one that onnxruntime refuses, MissingPackage."""
        self.session = _session(path, providers)
        meta = self.session.get_modelmeta().custom_metadata_map
        self._states = dict(pair.split("=") for pair in words(meta, "states"))
        folder = path.parent
        numbered = folder.name.isdigit()
        inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        #: Of one row, in each state's type; what grows, such as a cache, is empty at first.
        self._zeros = {
            name: np.zeros(_first(tensor), _dtype(tensor))
            for name, tensor in inputs.items()
            if name in self._states
        }
        self.interface = Interface(
            name=meta.get("name", "") or (folder.parent.name if numbered else path.stem),
            version=folder.name if numbered else "",
            inputs=tuple(
                _input(tensor, meta) for name, tensor in inputs.items() if name not in self._states
            ),
            outputs=tuple(
                tensor.name
                for tensor in self.session.get_outputs()
                if tensor.name not in self._states.values()
            ),
            parameters=meta,
            stateful=bool(self._states),
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for tensors by name."""
        names = list(self.interface.outputs)
        return dict(zip(names, self._run(names, feeds), strict=True))

    def sequence(self) -> Run:
        """Return what runs one step, and feeds each state with what the last step gave."""
        state = dict(self._zeros)

        def step(feeds: Mapping[str, Array]) -> dict[str, Array]:
            names = [*self.interface.outputs, *self._states.values()]
            outputs = dict(zip(names, self._run(names, {**feeds, **state}), strict=True))
            for before, after in self._states.items():
                state[before] = outputs.pop(after)
            return outputs

        return step

    def close(self) -> None:
        """Nothing to do: the session goes with the object."""

    def _run(self, names: list[str], feeds: Mapping[str, Array]) -> list[Array]:
        try:
            outputs: list[Array] = self.session.run(names, dict(feeds))
        except Exception as error:  # onnxruntime's own have no common base but this
            raise UsageError(f"{self.interface.name}: onnxruntime: {first_line(error)}") from error
        return outputs


def _session(path: Path, providers: Sequence[str]) -> Any:
    try:
        onnxruntime = import_onnxruntime()
    except ModuleNotFoundError as error:
        raise MissingPackage("onnxruntime", "running a model here", "cpu") from error
    lacking = [name for name in providers if name not in onnxruntime.get_available_providers()]
    if lacking:
        known = ", ".join(onnxruntime.get_available_providers())
        raise UsageError(f"onnxruntime has no provider {lacking[0]!r} here: it has {known}")
    try:
        return open_session(path, providers=providers)
    except Exception as error:  # as above
        raise UsageError(f"{path} cannot be loaded: {first_line(error)}") from error


def _dtype(tensor: Any) -> np.dtype:
    try:
        return datatypes.by_onnx(tensor.type).numpy
    except ValueError as error:
        raise UsageError(f"input {tensor.name}: {error}") from error


def _first(tensor: Any) -> list[int]:
    """Return the dimensions of the state that a sequence begins with."""
    sizes = [size if isinstance(size, int) else 0 for size in tensor.shape]
    return [sizes[0] or 1, *sizes[1:]] if sizes else []


def _input(tensor: Any, meta: Mapping[str, str]) -> InputSpec:
    """Return an input's spec: a first dimension that is open is the batch."""
    sizes = [size if isinstance(size, int) and size >= 0 else -1 for size in tensor.shape]
    batched = bool(sizes) and sizes[0] == -1
    dims = tuple(sizes[1:] if batched else sizes)
    return input_spec(tensor.name, _dtype(tensor), dims, batched, meta)
