"""A case of the atlas: a small model around one layer, its input rows, and the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

Shape = tuple[int | None, ...]

#: Takes keras and the symbolic input, or a list of them; gives what a Keras model has as outputs.
Call = Callable[[ModuleType, Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCase:
    """A model of one layer. `call` takes keras and the symbolic inputs, and gives the answer.

    Shapes are without the batch. `batch` fixes it (stateful layers want that). `refused` marks
    what ONNX cannot express: there the right outcome is an error whose reason contains these words.
    `values` says what rows are made of: "normal" floats, "pixels" from 0 to 255, "integers" below
    `below`, or some of `words`. `quantize` is a mode of Keras's `Model.quantize`.
    """

    name: str
    call: Call = field(compare=False)
    shapes: tuple[Shape, ...]
    values: str = "normal"
    below: int = 6
    dtype: str = "float32"
    batch: int | None = None
    reset_states: bool = False
    refused: str = ""
    words: tuple[str, ...] = ("a", "b", "c", "d")
    quantize: str = ""

    def but(self, **changes: Any) -> LayerCase:
        """Return the same case with other rows or another outcome: fields of this class."""
        return replace(self, **changes)


def case(name: str, call: Call, *shapes: Shape, **options: Any) -> LayerCase:
    """Return a case; a single input comes to `call` as itself, several as a list."""
    return LayerCase(name=name, call=call, shapes=shapes, **options)


def layer(name: str, shape: Shape, *arguments: Any, **options: Any) -> LayerCase:
    """Return the case of one layer, of the class that is named before any bracket, so constructed."""
    kind = name.partition("[")[0]
    return case(name, lambda k, x: getattr(k.layers, kind)(*arguments, **options)(x), shape)


#: Keras itself has no answer to compare with, here: no exporter's fault, and no exporter's proof.
UNRUNNABLE = "keras cannot run it"

#: ok        onnxruntime gives Keras's answers
#: refused   an error with its reason, and no file
#: invalid   (other exporters) a file that cannot be loaded or fed, and no error
#: wrong     (other exporters) other answers than Keras's, and no error
#: crashed   an exception that is none of the zoo's errors, or the end of the process: a bug
STATUSES = ("ok", "refused", "invalid", "wrong", "crashed", UNRUNNABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one exporter did on one case; `status` is one of STATUSES.

    `loops` counts the nodes that hold graphs of their own, `difference` is the largest from Keras,
    `seconds` what the export alone took.
    """

    name: str
    status: str
    reason: str = ""
    nodes: int = 0
    loops: int = 0
    difference: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Outcome:
        """Return the outcome that `to_json` described."""
        return cls(**values | {"notes": tuple(values["notes"])})

    def expected_of(self, case: LayerCase) -> bool:
        """Whether a case went as its table says: right, or refused for the reason stated there."""
        if case.refused:
            return self.status == "refused" and case.refused in self.reason
        return self.status in ("ok", UNRUNNABLE)
