"""Does a request fit the model? Pure: settings and a request in, arrays for the graph out.

The checks stand in Triton's order (core/src/infer_request.cc, Normalize) and keep the stems of its
messages, which clients match on; each cites the clause of protocol.md that it enforces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from server import tensors
from server.errors import InvalidRequest
from server.inference.messages import InferRequest, InputTensor, OutputRequest
from server.repository.settings import (
    InputSettings,
    ModelSettings,
    OutputSettings,
    reshape_dims,
)
from server.tensors import VARIABLE

_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim in "
    "your input dims config, try setting max_batch_size to zero. See the model configuration docs "
    "for more info on max_batch_size."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request that fits: what to feed the graph, and which outputs to answer."""

    feeds: dict[str, np.ndarray[Any, Any]]
    #: Dimension 0 of every input, or 0 where the model does not batch.
    batch_size: int
    outputs: tuple[tuple[OutputSettings, OutputRequest], ...]


class RequestChecker:
    """Checks requests for one version; made once at load."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs = {tensor.name: tensor for tensor in settings.inputs}
        self._outputs = {tensor.name: tensor for tensor in settings.outputs}
        self._required = sum(not tensor.optional for tensor in settings.inputs)
        self._all_outputs = tuple(
            (tensor, OutputRequest(name=tensor.name)) for tensor in settings.outputs
        )

    def check(self, request: InferRequest) -> CheckedRequest:
        """Return what to run; InvalidRequest says what does not fit."""
        try:
            outputs = self._check_outputs(request.outputs)
            pairs = self._check_names(request.inputs)
            batch_size = self._batch_size(pairs)
            feeds = {sent.name: self._array(sent, settings, batch_size) for sent, settings in pairs}
        except InvalidRequest as error:
            # Triton leads with the id, so that a caller with many in flight can tell them apart.
            label = request.id[:64] or "<id_unknown>"
            raise InvalidRequest(f"[request id: {label}] {error}") from None
        return CheckedRequest(feeds=feeds, batch_size=batch_size, outputs=outputs)

    def _check_outputs(
        self, asked: Sequence[OutputRequest]
    ) -> tuple[tuple[OutputSettings, OutputRequest], ...]:
        """2.2.8: none asked means all; twice the same is refused."""
        if not asked:
            return self._all_outputs
        if len({output.name for output in asked}) < len(asked):
            name = next(
                o.name for i, o in enumerate(asked) if o.name in {p.name for p in asked[:i]}
            )
            raise InvalidRequest(f"output '{name}' already exists in request")
        for output in asked:
            if output.name not in self._outputs:
                raise InvalidRequest(
                    f"unexpected inference output '{output.name}' for model '{self._name}'"
                )
        return tuple((self._outputs[output.name], output) for output in asked)

    def _check_names(
        self, inputs: Sequence[InputTensor]
    ) -> list[tuple[InputTensor, InputSettings]]:
        """1c, missing, extra and unknown inputs; 2.2.7, optional ones may be left out."""
        sent: dict[str, InputTensor] = {}
        for tensor in inputs:
            if tensor.name in sent:
                raise InvalidRequest(f"input '{tensor.name}' already exists in request")
            sent[tensor.name] = tensor
        missing = [t.name for t in self._settings.inputs if not t.optional and t.name not in sent]
        unknown = [name for name in sent if name not in self._inputs]
        if not self._required <= len(sent) <= len(self._inputs):
            raise InvalidRequest(self._count_text(list(sent), missing))
        if unknown:
            raise InvalidRequest(
                f"unexpected inference input '{unknown[0]}' for model '{self._name}'"
            )
        if missing:
            raise InvalidRequest(self._count_text(list(sent), missing))
        return [(tensor, self._inputs[name]) for name, tensor in sent.items()]

    def _count_text(self, sent: list[str], missing: list[str]) -> str:
        total = len(self._inputs)
        if self._required == total:
            expected = f"expected {total} inputs"
        else:
            expected = f"expected number of inputs between {self._required} and {total}"
        return (
            f"{expected} but got {len(sent)} inputs for model '{self._name}'. Got input(s) "
            f"{_quoted(sent)}, but missing required input(s) {_quoted(missing)}. Please provide all "
            "required input(s)."
        )

    def _batch_size(self, pairs: list[tuple[InputTensor, InputSettings]]) -> int:
        """2.2.5: dimension 0 is the batch, the same for every input, 1 to max_batch_size."""
        limit = self._settings.max_batch_size
        if limit == 0:
            return 0
        batch_size: int | None = None
        for sent, _ in pairs:
            if not sent.shape:
                raise InvalidRequest(
                    f"input '{sent.name}' has no shape but model requires batch dimension for "
                    f"'{self._name}'"
                )
            if batch_size is None:
                batch_size = sent.shape[0]
            elif sent.shape[0] != batch_size:
                raise InvalidRequest(
                    f"input '{sent.name}' batch size does not match other inputs for '{self._name}'"
                )
        if batch_size is None:  # every input is optional and was left out
            return 1
        if batch_size > limit:
            raise InvalidRequest(
                f"inference request batch-size must be <= {limit} for '{self._name}'"
            )
        if batch_size < 1:
            raise InvalidRequest(f"inference request batch-size must be >= 1 for '{self._name}'")
        return batch_size

    def _array(
        self, sent: InputTensor, settings: InputSettings, batch_size: int
    ) -> np.ndarray[Any, Any]:
        """1c, wrong dtype, shape or byte size; 2.2.4 exact sizes; 2.2.6 zero sizes are legal."""
        if sent.datatype != settings.datatype.wire:
            raise InvalidRequest(
                f"inference input '{sent.name}' data-type is '{sent.datatype}', but model "
                f"'{self._name}' expects '{settings.datatype.wire}'"
            )
        batched = self._settings.max_batch_size > 0
        dims = sent.shape[1:] if batched else sent.shape
        self._check_shape(sent, settings, dims)
        target = dims
        if settings.graph_dims != settings.dims:
            target = reshape_dims(dims, settings.dims, settings.graph_dims)
        shape = (batch_size, *target) if batched else target
        try:
            count = tensors.element_count(shape)
        except ValueError as error:
            raise InvalidRequest(
                f"{error} for input '{sent.name}' for model '{self._name}'"
            ) from None
        if settings.datatype.byte_size is None:
            return self._strings(sent, shape, count)
        return self._numbers(sent, settings, shape, count)

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
        batched = self._settings.max_batch_size > 0
        full = (VARIABLE, *expected) if batched else expected
        raise InvalidRequest(
            f"unexpected shape for input '{sent.name}' for model '{self._name}'. Expected "
            f"{_dims_text(full)}, got {_dims_text(sent.shape)}.{_BATCH_NOTE if batched else ''}"
        )

    def _numbers(
        self, sent: InputTensor, settings: InputSettings, shape: tuple[int, ...], count: int
    ) -> np.ndarray[Any, Any]:
        datatype, data = settings.datatype, sent.data
        assert datatype.byte_size is not None
        got = data.nbytes if isinstance(data, np.ndarray | memoryview) else len(data)
        expected = count * datatype.byte_size
        if got != expected:
            raise InvalidRequest(
                f"input byte size mismatch for input '{sent.name}' for model '{self._name}'. "
                f"Expected {expected}, got {got}"
            )
        if isinstance(data, np.ndarray):
            return data.reshape(shape)
        if not isinstance(data, bytes | memoryview):
            raise TypeError(f"numbers arrive as bytes or an array, not {type(data).__name__}")
        # A view: the bytes of the message are the tensor, no copy is made.
        array = np.frombuffer(data, dtype=datatype.numpy).reshape(shape)
        # A region of shared memory may begin anywhere, and kernels take an address for aligned.
        return array if array.flags.aligned else array.copy()

    def _strings(
        self, sent: InputTensor, shape: tuple[int, ...], count: int
    ) -> np.ndarray[Any, Any]:
        """2.2.3; and ONNX strings are UTF-8, which is checked here, not halfway into a run."""
        label = f"inference input '{sent.name}' for model '{self._name}'"
        data = sent.data
        try:
            if isinstance(data, bytes | memoryview):
                elements: Sequence[bytes] = tensors.parse_bytes(data, count, tensor=label)
            else:
                elements = data  # type: ignore[assignment]
                if len(elements) != count:
                    raise ValueError(
                        f"expected {count} string elements for {label}, got {len(elements)}"
                    )
            return tensors.object_array([element.decode() for element in elements], shape)
        except UnicodeDecodeError:
            raise InvalidRequest(
                f"a string element of {label} is not valid UTF-8, which ONNX strings are"
            ) from None
        except ValueError as error:
            raise InvalidRequest(str(error)) from None

    @property
    def _name(self) -> str:
        return self._settings.name


def _quoted(names: Sequence[str]) -> str:
    return "[" + ",".join(f"'{name}'" for name in names) + "]"


def _dims_text(dims: Sequence[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
