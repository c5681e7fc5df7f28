"""The inputs that a request of a sequence gets beside its caller's: controls and the sequence's state."""

from collections.abc import Mapping

import numpy as np

from zoo_server.errors import InvalidRequest, Unsupported
from zoo_server.model_config import Control, ControlKind, Sequences

SequenceId = int | str

Array = np.ndarray

#: Triton's bound on a sequence's name.
LONGEST_NAME = 128


class SequenceInputs:
    """Makes them for one model, and checks what can be checked without the sequence."""

    def __init__(self, model: str, settings: Sequences, *, batched: bool) -> None:
        self._model = model
        self._settings = settings
        self._lead = (1,) if batched else ()

    def check(self, sequence_id: SequenceId, rows: int) -> None:
        """Raise InvalidRequest for no id, for one that the model does not take, or for several rows.

        Unsupported for too long an id.
        """
        if not sequence_id:
            raise InvalidRequest(
                f"inference request to model '{self._model}' must specify a non-zero or non-empty "
                "correlation ID"
            )
        if isinstance(sequence_id, str) and len(sequence_id.encode()) > LONGEST_NAME:
            raise Unsupported(
                f"string correlation ID cannot be longer than {LONGEST_NAME} characters"
            )
        if rows != 1:
            raise InvalidRequest(
                f"inference request to model '{self._model}' must specify batch-size 1 due to "
                "requirements of sequence batcher"
            )
        for control in self._settings.controls:
            if control.kind is ControlKind.CORRELATION_ID:
                _correlation(control, sequence_id, self._model)

    def arrays(
        self, sequence_id: SequenceId, state: Mapping[str, Array], *, start: bool, end: bool
    ) -> tuple[dict[str, Array], list[tuple[str, tuple[int, ...]]]]:
        """Return the arrays by input, and those states, with shapes, that are not as they begin.

        A state that is not in `state` begins with zeros.
        """
        flags = {ControlKind.START: start, ControlKind.END: end, ControlKind.READY: True}
        arrays: dict[str, Array] = {}
        for control in self._settings.controls:
            value: float | str
            if control.kind is ControlKind.CORRELATION_ID:
                value = _correlation(control, sequence_id, self._model)
            else:
                value = control.values[flags[control.kind]]
            shape = (*self._lead, *control.dims)
            arrays[control.input] = np.full(shape, value, control.datatype.numpy)
        grown = []
        for each in self._settings.states:
            shape = (*self._lead, *each.dims)
            kept = state.get(each.input)
            if kept is None:
                kept = np.zeros(shape, each.datatype.numpy)
            elif kept.shape != shape:
                grown.append((each.input, kept.shape))
            arrays[each.input] = kept
        return arrays, grown


def _correlation(control: Control, sequence_id: SequenceId, model: str) -> int | str:
    """Return the id as the control input takes it."""
    wants_text = control.datatype.byte_size is None
    if wants_text:
        return str(sequence_id)
    if isinstance(sequence_id, str):
        raise InvalidRequest(
            f"correlation ID '{sequence_id[:64]}' of model '{model}' must be a number: its control "
            f"input is {control.datatype.wire}"
        )
    limits = np.iinfo(control.datatype.numpy)
    if not limits.min <= sequence_id <= limits.max:
        raise InvalidRequest(
            f"correlation ID {sequence_id} of model '{model}' does not fit {control.datatype.wire}"
        )
    return sequence_id
