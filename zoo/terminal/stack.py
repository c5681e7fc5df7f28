"""Draws a model's stack of layers as text: an output's size is a bar, and arrows say what feeds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2, prod
from typing import Any

from zoo.recipes.architecture import Layer

#: Characters of the widest bar.
BAR = 24


def stack_rows(layers: Sequence[Layer]) -> list[list[str]]:
    """Return a row a layer, as STACK_HEADER has them.

    A bar grows with the logarithm of the values that a row of the layer's output has. What feeds a
    layer is only named where that is not the layer above.
    """
    rows = []
    for i, layer in enumerate(layers):
        above = (layers[i - 1].name,) if i else ()
        shape = layer.output_shape[1:]
        rows.append(
            [
                layer.name,
                " ".join([layer.type, *_options(layer.options)]),
                _bar(prod(size or 1 for size in shape), _largest(layers)),
                "×".join("?" if size is None else str(size) for size in shape) or "1",
                str(layer.total) if layer.total else "",
                str(layer.connections) if layer.connections else "",
                "" if layer.sources == above else " + ".join(layer.sources),
            ]
        )
    return rows


STACK_HEADER = ("layer", "type", "", "output", "parameters", "connections", "from")
STACK_RIGHT = "llcrrrl"
STACK_DROPPED = ("connections", "parameters", "")


def _largest(layers: Sequence[Layer]) -> int:
    return max(prod(size or 1 for size in layer.output_shape[1:]) for layer in layers)


def _bar(values: int, largest: int) -> str:
    """Return a bar of an even number of characters, so that all have one middle."""
    share = log2(values + 1) / log2(largest + 1)
    return "█" * (2 * max(round(share * BAR / 2), 1))


def _options(options: Mapping[str, Any]) -> list[str]:
    """Return the options' values as the tutorial writes them."""
    shown = []
    for name, value in options.items():
        if isinstance(value, list | tuple):
            shown.append("×".join(map(str, value)))
        elif isinstance(value, Mapping):
            shown += [value["type"], *_options(value["options"])]
        elif isinstance(value, bool):
            shown += [name] if value else []
        elif isinstance(value, float):
            shown.append(f"{value:.4g}")
        elif value not in (None, "linear"):
            shown.append(str(value))
    return shown
