"""Checks one input of a request: its type, shape and bytes, in Triton's words (validation.py)."""

from collections.abc import Iterator, Sequence

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest
from zoo_server.inference.picture_tensors import files_of, is_picture, planned_picture
from zoo_server.inference.plan import Data, PlannedInput
from zoo_server.inference.request import InputTensor
from zoo_server.inference.shared_memory import Source
from zoo_server.model_config import GraphTraits, InputSettings, ModelSettings, reshape_dims

_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim in "
    "your input dims config, try setting max_batch_size to zero. See the model configuration docs "
    "for more info on max_batch_size."
)


class InputChecker:
    """Checks the inputs of one version."""

    def __init__(self, settings: ModelSettings, traits: GraphTraits) -> None:
        self._name = settings.name
        self._batched = settings.max_batch_size > 0
        self._traits = traits

    def planned(self, sent: InputTensor, settings: InputSettings, batch_size: int) -> PlannedInput:
        """Wrong dtype or shape; zero sizes are legal (docs/protocol.md 1c, 2.2.6)."""
        if is_picture(sent, settings):
            return planned_picture(sent, batch_size)
        if sent.datatype != settings.datatype.wire:
            raise InvalidRequest(
                f"inference input '{sent.name}' data-type is '{sent.datatype}', but model "
                f"'{self._name}' expects '{settings.datatype.wire}'"
            )
        dims = sent.shape[1:] if self._batched else sent.shape
        self._check_shape(sent, settings, dims)
        target = dims
        if settings.graph_dims != settings.dims:
            target = reshape_dims(dims, settings.dims, settings.graph_dims)
        shape = (batch_size, *target) if self._batched else target
        try:
            count = datatypes.element_count(shape)
        except ValueError as error:
            raise InvalidRequest(
                f"{error} for input '{sent.name}' for model '{self._name}'"
            ) from None
        if not count and self._traits.ends_on_empty:
            raise InvalidRequest(
                f"input '{sent.name}' has shape {_dims_text(sent.shape)}, which is without elements: "
                f"operator {self._traits.ends_on_empty} of model '{self._name}' takes one or more"
            )
        size = settings.datatype.byte_size
        return PlannedInput(
            name=sent.name,
            dtype=settings.datatype.numpy,
            shape=shape,
            nbytes=None if size is None else count * size,
        )

    def data(self, sent: InputTensor, settings: InputSettings, planned: PlannedInput) -> Data:
        """Wrong byte size (docs/protocol.md 1c, 2.2.4)."""
        if is_picture(sent, settings):
            return files_of(sent, planned.shape[0])
        if planned.nbytes is None:
            count = datatypes.element_count(planned.shape)
            return self._strings(sent, planned.shape, count)
        data = sent.data
        nbytes = data.nbytes if isinstance(data, np.ndarray | memoryview) else len(data)
        if nbytes != planned.nbytes:
            raise InvalidRequest(
                f"input byte size mismatch for input '{sent.name}' for model '{self._name}'. "
                f"Expected {planned.nbytes}, got {nbytes}"
            )
        if isinstance(data, np.ndarray):
            return data.reshape(planned.shape)
        if not isinstance(data, bytes | memoryview | Source):
            raise TypeError(f"numbers arrive as bytes or an array, not {type(data).__name__}")
        return data

    def _check_shape(
        self, sent: InputTensor, settings: InputSettings, dims: tuple[int, ...]
    ) -> None:
        if min(dims, default=0) < 0:
            raise InvalidRequest(
                f"All input dimensions should be specified for input '{sent.name}' for model "
                f"'{self._name}', got {_dims_text(sent.shape)}"
            )
        expected = settings.dims
        if len(dims) == len(expected) and all(
            want in (VARIABLE, have) for have, want in zip(dims, expected, strict=True)
        ):
            return
        full = (VARIABLE, *expected) if self._batched else expected
        raise InvalidRequest(
            f"unexpected shape for input '{sent.name}' for model '{self._name}'. Expected "
            f"{_dims_text(full)}, got {_dims_text(sent.shape)}.{_BATCH_NOTE if self._batched else ''}"
        )

    def _strings(self, sent: InputTensor, shape: tuple[int, ...], count: int) -> np.ndarray:
        """ONNX strings are UTF-8, checked here, before the run (docs/protocol.md 2.2.3)."""
        label = f"inference input '{sent.name}' for model '{self._name}'"
        if isinstance(sent.data, np.ndarray):  # another model's output
            return sent.data.reshape(shape)
        data = sent.data.read() if isinstance(sent.data, Source) else sent.data
        try:
            if isinstance(data, bytes | memoryview):
                pieces: list[Sequence[bytes]]
                pieces = list(datatypes.parse_pieces(data, count, tensor=label))
            else:  # read from `bytes_contents`
                if len(data) != count:
                    raise datatypes.miscounted(len(data), count, tensor=label)
                pieces = list(datatypes.pieces_of(data))
            return datatypes.object_array_of(_texts(pieces), shape)
        except UnicodeDecodeError:
            raise InvalidRequest(
                f"a string element of {label} is not valid UTF-8, which ONNX strings are"
            ) from None
        except ValueError as error:
            raise InvalidRequest(str(error)) from None


def _texts(pieces: list[Sequence[bytes]]) -> Iterator[list[str]]:
    """Give strings of UTF-8 as text, and let go of the bytes: nothing is freed in one long go at the end."""
    pieces.reverse()
    while pieces:
        yield [element.decode() for element in pieces.pop()]


def _dims_text(dims: Sequence[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
