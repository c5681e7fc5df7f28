"""Export options, from the command line to the exporting process."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from zoo.convert.opsets import OPSET, check_opset
from zoo.convert.states import state_pairs
from zoo.errors import UsageError
from zoo.quantize.decision import NONE, check_requested


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Part of a publication's key, and recorded in its manifest; raises UsageError if wrong.

    `portable` also writes a variant without recurrent operators. `reset_states` exports stateful
    layers as from their reset state, and `states` "inputs" with their states as inputs and outputs, or
    IN=OUT,... names those that the model has.
    `quantize` is one of quantize.decision.CHOICES; a variant may
    then lose `max_loss` of the metric, None for the metric's default. `external_data` writes the weights
    into a file beside the model.
    """

    opset: int = OPSET
    portable: bool = False
    reset_states: bool = False
    states: str = ""
    quantize: str = NONE
    max_loss: float | None = None
    external_data: bool = False

    def __post_init__(self) -> None:
        check_opset(self.opset)
        check_requested(self.quantize, with_rows=True)
        self._check_states()
        if self.max_loss is None:
            return
        if self.quantize == NONE:
            raise UsageError("--max-loss says what a smaller variant may lose: give --quantize too")
        number = isinstance(self.max_loss, int | float)
        if not (number and math.isfinite(self.max_loss) and self.max_loss >= 0):
            shown = f"{self.max_loss:g}" if number else repr(self.max_loss)
            raise UsageError(f"--max-loss {shown}: must be a number, 0 or more")

    def _check_states(self) -> None:
        state_pairs(self.states)
        if self.states and self.reset_states:
            raise UsageError("states are either reset or inputs: give one of the two options")
        if self.states and self.quantize != NONE:
            raise UsageError(
                "smaller variants are measured on rows, and states come from calls before: leave "
                "--quantize or --states out"
            )

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)
