"""Checks that a request fits the model: settings and a request in, arrays for the graph out. Pure.

The checks stand in Triton's order (core/src/infer_request.cc, Normalize) and keep the stems of its
messages, which clients match on; each names the section of docs/protocol.md that it enforces.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest
from zoo_server.inference.input_checker import InputChecker
from zoo_server.inference.picture_tensors import is_picture
from zoo_server.inference.plan import CheckedRequest, Plan, PlannedInput
from zoo_server.inference.request import InferRequest, InputTensor, OutputRequest
from zoo_server.model_config import (
    GraphTraits,
    InputSettings,
    ModelSettings,
    OutputSettings,
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
        self._tensors = InputChecker(settings, self._traits)
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
            inputs = tuple(
                self._tensors.planned(sent, settings, batch_size) for sent, settings in pairs
            )
            data = [
                self._tensors.data(sent, settings, planned)
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

    @property
    def _name(self) -> str:
        return self._settings.name


def _quoted(names: Sequence[str]) -> str:
    return "[" + ",".join(f"'{name}'" for name in names) + "]"
