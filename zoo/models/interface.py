"""What a model takes and gives, read from an ONNX file's metadata or from a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from zoo_server.images.description import Image

Array = np.ndarray

#: Runs a model on tensors by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One input; dims exclude the batch if `batched`, -1 is a dimension of any size.

    `features` are the names of its last dimension's values, where the data has names.
    """

    name: str
    dtype: np.dtype
    dims: tuple[int, ...]
    batched: bool
    image: Image | None = None
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A model's inputs without its states, its outputs, and what its numbers mean.

    `parameters` are those of the file's metadata and of config.pbtxt: task, classes, units, ….
    `rows` is how many rows one request may have.
    """

    name: str
    version: str
    inputs: tuple[InputSpec, ...]
    parameters: Mapping[str, str]
    stateful: bool = False
    rows: int = 1024
    outputs: tuple[str, ...] = field(default=())

    @property
    def batched(self) -> bool:
        """Tell whether the first dimension of every tensor is that of the rows."""
        return all(spec.batched for spec in self.inputs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the labels of the first output's classes; empty where it has none."""
        return words(self.parameters, "classes")


class Backend(Protocol):
    """Where a model runs: in this process, or on a server."""

    interface: Interface

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs for tensors by name."""

    def sequence(self) -> Run:
        """Return what runs one step of a new sequence, and keeps the state between steps."""

    def close(self) -> None:
        """Free what is held; nothing can be run after it."""


def words(parameters: Mapping[str, str], key: str) -> tuple[str, ...]:
    """Return the parts of a parameter that is a list."""
    return tuple(part for part in parameters.get(key, "").split(",") if part)


def input_spec(
    name: str,
    dtype: np.dtype,
    dims: tuple[int, ...],
    batched: bool,
    parameters: Mapping[str, str],
) -> InputSpec:
    """Return an input with what the parameters say of it: an image's encoding, names of columns."""
    text = parameters.get("image")
    image = Image.from_text(text) if text else None
    if image is not None and dims[:-1] != image.size:
        image = None
    features = words(parameters, "features")
    return InputSpec(
        name=name,
        dtype=dtype,
        dims=dims,
        batched=batched,
        image=image,
        features=features if dims == (len(features),) else (),
    )
