"""One case of the atlas: how to build a small model around a layer, and what to feed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int | None, ...]

#: What a case's rows are made of: normal floats, 0 to 255, 0 to 1, integers below N, words.
VALUES = ("normal", "pixels", "unit", "integers", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model of one layer. `call` takes keras and the symbolic inputs, and gives the answer.

    Shapes are without the batch. `batch` fixes it (stateful layers want that). `refused` marks
    what ONNX cannot say: there the right outcome is an error with a reason.
    """

    name: str
    call: Callable[[Any, Any], Any] = field(compare=False)
    shapes: tuple[Shape, ...]
    values: str = "normal"
    below: int = 6
    dtype: str = "float32"
    batch: int | None = None
    reset_states: bool = False
    refused: bool = False
    words: tuple[str, ...] = ("a", "b", "c", "d")


def case(name: str, call: Callable[[Any, Any], Any], *shapes: Shape, **options: Any) -> Case:
    """Return a case; a single input comes to `call` as itself, several as a list."""
    return Case(name=name, call=call, shapes=shapes, **options)
