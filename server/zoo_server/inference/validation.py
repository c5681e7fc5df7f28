"""Checks that a request fits the model: settings and a request in, arrays for the graph out. Pure.

The checks stand in Triton's order (core/src/infer_request.cc, Normalize) and keep the stems of its
messages, which clients match on; each names the section of docs/protocol.md that it enforces.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest
from zoo_server.inference.picture_tensors import files_of, is_picture, planned_picture
from zoo_server.inference.plan import CheckedRequest, Data, Plan, PlannedInput
from zoo_server.inference.request import InferRequest, InputTensor, OutputRequest
from zoo_server.inference.shared_memory import Source
from zoo_server.model_config import (
    GraphTraits,
    InputSettings,
    ModelSettings,
    OutputSettings,
    reshape_dims,
)

_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be "
    "prepended to each input shape. If you want to specify the full shape including the batch dim in "
    "your input dims config, try setting max_batch_size to zero. See the model configuration docs "
    "for more info on max_batch_size."
)


class RequestChecker:
    """Checks requests for one version; made once at load."""

    def __init__(self, settings: ModelSettings, traits: GraphTraits | None = None) -> None:
        self._settings = settings
        self._traits = traits or GraphTraits()
        self._inputs = {tensor.name: tensor for tensor in settings.inputs}
        self._outputs = {tensor.name: tensor for tensor in settings.outputs}
        self._varies = any(VARIABLE in tensor.dims for tensor in settings.inputs)
        #: Whether every row of a run is like any other, in what goes in and what comes out.
        self.rows_are_alike = (
            not self._varies
            and settings.ragged is None
            and not any(VARIABLE in tensor.dims for tensor in settings.outputs)
        )
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
            inputs = tuple(self._planned(sent, settings, batch_size) for sent, settings in pairs)
            data = [
                self._data(sent, settings, planned)
                for (sent, settings), planned in zip(pairs, inputs, strict=True)
            ]
        except InvalidRequest as error:
            # Triton leads with the id, so that a caller with many in flight can tell them apart.
            label = request.id[:64] or "<id_unknown>"
            raise InvalidRequest(f"[request id: {label}] {error}") from None
        batched = batch_size > 0
        plan = Plan(
            inputs=inputs,
            batch_size=batch_size,
            outputs=outputs,
            names=tuple(output.name for output, _ in outputs),
            rows=batch_size or 1,
            classifies=any(output.classes for _, output in outputs),
            size=self._size(inputs, batch_size or 1),
            key=self._key(inputs, batched),
            pictures=tuple(sent.name for sent, settings in pairs if is_picture(sent, settings)),
        )
        return CheckedRequest(plan, data)

    def with_values(self, plan: Plan, values: Mapping[str, np.ndarray]) -> Plan:
        """Return a plan with values in the place of its pictures; by their names, as the graph takes them."""
        inputs = tuple(
            PlannedInput(
                name=planned.name,
                dtype=values[planned.name].dtype,
                shape=values[planned.name].shape,
                nbytes=values[planned.name].nbytes,
            )
            if planned.name in values
            else planned
            for planned in plan.inputs
        )
        size, key = self._size(inputs, plan.rows), self._key(inputs, plan.batch_size > 0)
        return replace(plan, inputs=inputs, size=size, key=key, pictures=(), encoded={})

    def smallest(self) -> tuple[int, str]:
        """Return size and key of a run of one row whose variable dimensions are 1 (Plan)."""
        batched = self._settings.max_batch_size > 0
        planned = [
            PlannedInput(
                name=tensor.name,
                dtype=tensor.datatype.numpy,
                shape=(1,) * batched
                + tuple(1 if dim == VARIABLE else dim for dim in tensor.graph_dims),
                nbytes=None if tensor.datatype.byte_size is None else 0,
            )
            for tensor in self._inputs.values()
            if not tensor.optional
        ]
        return self._size(planned, 1), self._key(planned, batched)

    def _key(self, inputs: Sequence[PlannedInput], batched: bool) -> str:
        """Return what is equal for requests that may share a run (Plan.key)."""
        ragged = self._settings.ragged
        free = ragged.inputs if ragged is not None else ()
        return repr(
            [
                (planned.name, () if planned.name in free else planned.shape[batched:])
                for planned in inputs
            ]
        )

    def _size(self, inputs: Sequence[PlannedInput], rows: int) -> int:
        """Return what the time of a run grows with (Plan.size)."""
        if self._traits.open_ended:
            return 0  # the data decides how long a run takes
        if any(planned.nbytes is None for planned in inputs):
            return 0  # strings are of any length, and are read one by one
        if self.rows_are_alike:
            return rows
        if not self._varies:
            return 0  # the data decides what comes out of inputs that are always of one size
        return max(1, sum(math.prod(planned.shape) for planned in inputs))

    def _check_outputs(
        self, requested: Sequence[OutputRequest]
    ) -> tuple[tuple[OutputSettings, OutputRequest], ...]:
        """docs/protocol.md 2.2.8: none requested means all; twice the same is refused."""
        if not requested:
            return self._all_outputs
        if len({output.name for output in requested}) < len(requested):
            name = next(
                o.name for i, o in enumerate(requested) if o.name in {p.name for p in requested[:i]}
            )
            raise InvalidRequest(f"output '{name}' already exists in request")
        for output in requested:
            if output.name not in self._outputs:
                raise InvalidRequest(
                    f"unexpected inference output '{output.name}' for model '{self._name}'"
                )
        return tuple((self._outputs[output.name], output) for output in requested)

    def _check_names(
        self, inputs: Sequence[InputTensor]
    ) -> list[tuple[InputTensor, InputSettings]]:
        """Missing, extra and unknown inputs; optional ones may be left out.

        docs/protocol.md 1c and 2.2.7.
        """
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
        # In the configuration's order, so that requests that list them differently are alike.
        return [(sent[name], settings) for name, settings in self._inputs.items() if name in sent]

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
        """Dimension 0 is the batch: one size, 1 to max_batch_size (docs/protocol.md 2.2.5)."""
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

    def _planned(self, sent: InputTensor, settings: InputSettings, batch_size: int) -> PlannedInput:
        """Wrong dtype or shape; zero sizes are legal (docs/protocol.md 1c, 2.2.6)."""
        if is_picture(sent, settings):
            return planned_picture(sent, batch_size)
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

    def _data(self, sent: InputTensor, settings: InputSettings, planned: PlannedInput) -> Data:
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
        batched = self._settings.max_batch_size > 0
        full = (VARIABLE, *expected) if batched else expected
        raise InvalidRequest(
            f"unexpected shape for input '{sent.name}' for model '{self._name}'. Expected "
            f"{_dims_text(full)}, got {_dims_text(sent.shape)}.{_BATCH_NOTE if batched else ''}"
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

    @property
    def _name(self) -> str:
        return self._settings.name


def _texts(pieces: list[Sequence[bytes]]) -> Iterator[list[str]]:
    """Give strings of UTF-8 as text, and let go of the bytes: nothing is freed in one long go at the end."""
    pieces.reverse()
    while pieces:
        yield [element.decode() for element in pieces.pop()]


def _quoted(names: Sequence[str]) -> str:
    return "[" + ",".join(f"'{name}'" for name in names) + "]"


def _dims_text(dims: Sequence[int]) -> str:
    return "[" + ",".join(map(str, dims)) + "]"
