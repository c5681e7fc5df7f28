"""What a model's outputs mean: labels with probabilities, or values with units, a row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.models.interface import Array, Interface

#: What is said of an image without ink.
NOTHING_DRAWN = "nothing drawn"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The answer to one row.

    `values` is the first output's row in `units`; where it has classes, `label` is the likeliest and
    `probabilities` has all, likeliest first. `others` are further outputs by name. With a `note`
    there is no answer, and the note says why.
    """

    output: str
    values: Array
    units: str = ""
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, Array] = field(default_factory=dict)
    note: str = ""

    @property
    def value(self) -> float:
        """Return the first output's only value; ValueError where it has several."""
        return float(self.values.reshape(-1).item())

    def __str__(self) -> str:
        """Return the answer as people read it."""
        if self.note:
            return self.note
        if self.label is not None:
            return f"{self.label} ({self.probabilities[self.label]:.1%})"
        return f"{_text(self.values)} {self.units}".rstrip()

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON-able values."""
        if self.note:
            return {"output": self.output, "label": None, "note": self.note}
        if self.label is not None:
            values: dict[str, Any] = {
                "label": self.label,
                "probabilities": dict(self.probabilities),
            }
        else:
            values = {"output": self.output, "values": plain(self.values), "units": self.units}
        if self.others:
            values["others"] = {name: plain(array) for name, array in self.others.items()}
        return values


def plain(array: Array) -> list[Any]:
    """Return an array's values in one list; bytes as text."""
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value
        for value in array.reshape(-1).tolist()
    ]


def _text(array: Array) -> str:
    return " ".join(
        f"{value:.6g}" if isinstance(value, float) else str(value) for value in plain(array)
    )


def predictions(outputs: Mapping[str, Array], interface: Interface) -> list[Prediction]:
    """Return the answer to each row; one alone for a model whose outputs have no rows."""
    arrays = {name: np.asarray(array) for name, array in outputs.items()}
    counts = {array.shape[0] if array.ndim else -1 for array in arrays.values()}
    if not interface.batched or len(counts) != 1 or -1 in counts:
        arrays = {name: array[None] for name, array in arrays.items()}
    (name, first), *more = arrays.items()
    return [
        _prediction(name, row, interface, {key: array[i] for key, array in more})
        for i, row in enumerate(first)
    ]


def _prediction(
    name: str, row: Array, interface: Interface, others: Mapping[str, Array]
) -> Prediction:
    """Read one row of the first output, which task and classes speak of."""
    classes, parameters = interface.classes, interface.parameters
    shares: list[float] = []
    if parameters.get("task") == "binary" and len(classes) == 2 and row.shape == (1,):
        shares = [1.0 - float(row[0]), float(row[0])]
    elif classes and row.shape == (len(classes),) and row.dtype.kind == "f":
        shares = [float(value) for value in row]
    ranked = sorted(zip(classes, shares, strict=False), key=lambda pair: -pair[1])
    return Prediction(
        output=name,
        values=row,
        units="" if ranked else parameters.get("units", ""),
        label=ranked[0][0] if ranked else None,
        probabilities=dict(ranked),
        others=others,
    )


def nothing_drawn(prediction: Prediction) -> Prediction:
    """Return the answer to a row without ink, in place of what the model says of it."""
    return Prediction(output=prediction.output, values=prediction.values, note=NOTHING_DRAWN)
