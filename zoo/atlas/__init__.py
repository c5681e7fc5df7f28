"""The layer atlas: every public Keras layer and activation, with the options that matter.

    case.py       what a case is, and how one can go
    dense.py ...  the cases, one family a file, as data: a line for most
    measure.py    export a case and compare it with Keras
    isolated.py   the same in a process of its own
    page.py       the outcomes as a page

bench/layers.py measures other exporters on the same cases, for docs/layers.md.

A case costs one line to add, and guards tracer and passes from then on (tests/zoo/atlas/test_atlas.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from os import PathLike
from pathlib import Path

from zoo.atlas.case import LayerCase
from zoo.errors import UsageError
from zoo.recipes.registry import run_file

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
    "precision",
    "augmentation",
    "operations",
    "whole_models",
)

#: Public layers and activations without a case of their own, and why.
ABSENT = {
    "Equalization": "Keras 3.15 cannot build it into a functional model",
    "FlaxLayer": "wraps another framework",
    "JaxLayer": "wraps another framework",
    "Layer": "abstract",
    "TFSMLayer": "wraps a SavedModel, whose code is not Keras's",
    "TorchModuleWrapper": "wraps another framework",
    "Wrapper": "abstract",
}


def cases() -> tuple[LayerCase, ...]:
    """Return every case, family by family; imports no framework."""
    modules = [import_module(f"zoo.atlas.{family}") for family in FAMILIES]
    return tuple(case for module in modules for case in module.CASES)


def cases_of(files: Iterable[str | PathLike[str]]) -> tuple[LayerCase, ...]:
    """Return the cases of Python files that have a CASES as the families do: of layers of one's own.

    Raises UsageError naming the file that cannot be run, or has none.
    """
    cases: list[LayerCase] = []
    for file in files:
        own = getattr(run_file(Path(file)), "CASES", ())
        if not own or not all(isinstance(case, LayerCase) for case in own):
            raise UsageError(f"{file} defines no CASES: a list of what zoo.atlas.case.case returns")
        cases += own
    return tuple(cases)
