"""The layer atlas: every public Keras layer and activation, with the options that matter.

    case.py       what a case is
    dense.py ...  the cases, one family a file, as data
    measure.py    export a case, compare, and say how it went; Keras's own export and plain tf2onnx
                  beside it
    table.py      the outcomes as docs/layers.md

A case costs one line to add, and guards tracer and passes from then on (tests/zoo/test_layers.py).
"""

from __future__ import annotations

from importlib import import_module

from zoo.layers.case import Case

FAMILIES = (
    "dense",
    "activation",
    "convolution",
    "pooling",
    "reshaping",
    "merging",
    "normalization",
    "attention",
    "recurrent",
    "preprocessing",
    "augmentation",
    "whole",
)


def cases() -> tuple[Case, ...]:
    """Return every case, family by family; imports no framework."""
    found: list[Case] = []
    for family in FAMILIES:
        found += import_module(f"zoo.layers.{family}").CASES
    return tuple(found)
