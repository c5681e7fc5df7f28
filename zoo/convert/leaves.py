"""The leaves of nested structures, as a model takes and answers them: their shapes, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.convert.signature import WIDENED, Shape, Tensor

if TYPE_CHECKING:
    import keras


class ShapeLeaf:
    """A recorded shape as one leaf, since a tuple of sizes would be flattened itself."""

    def __init__(self, shape: Shape, dtype: str = "", name: str | None = None) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name


def shape_leaves(value: Any) -> object:
    """Return a structure of recorded shapes with each shape as one leaf."""
    if isinstance(value, Mapping):
        return {key: shape_leaves(item) for key, item in value.items()}
    if all(size is None or isinstance(size, int) for size in value):
        return ShapeLeaf(tuple(value))
    return [shape_leaves(item) for item in value]


def skeleton(structure: object) -> object:
    """Return the structure alone, with 0 for each leaf."""
    import keras

    return keras.tree.map_structure(lambda leaf: 0, structure)


def paths_and_leaves(
    structure: object,
) -> list[tuple[tuple[str | int, ...], ShapeLeaf | keras.KerasTensor]]:
    """Return (path, leaf) pairs in Keras's order."""
    import keras

    pairs: list[tuple[tuple[str | int, ...], ShapeLeaf | keras.KerasTensor]] = (
        keras.tree.flatten_with_path(structure)
    )
    return pairs


def leaf_name(path: Sequence[object], own: str) -> str:
    """Return the name of a leaf: the keys on its way if it lies in a dict, else its own."""
    if not any(isinstance(part, str) for part in path):
        return own
    return "_".join(str(part) for part in path)


def output_names(structure: object) -> tuple[str, ...]:
    """Return names for what a subclassed model answers."""
    return tuple(
        unique_names([leaf_name(path, "output") for path, _ in paths_and_leaves(structure)])
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Number those names that occur more than once."""
    return [
        name if names.count(name) == 1 else f"{name}_{list(names[:i]).count(name)}"
        for i, name in enumerate(names)
    ]


def graph_dtype(dtype: str) -> str:
    """Return the type that a tensor has in the graph, where other real numbers are float32."""
    return "float32" if dtype in WIDENED else str(dtype)


def named_tensors(
    names: Sequence[str | None], structures: Sequence[object], dtype: str
) -> list[Tensor]:
    """Return one tensor a leaf, named by its argument where there are several."""
    stems, leaves = [], []
    for name, structure in zip(names, structures, strict=True):
        stem = "input" if name is None or len(names) == 1 else name
        for path, leaf in paths_and_leaves(structure):
            stems.append(leaf_name(path, stem))
            leaves.append(leaf)
    return [
        Tensor(name=name, dtype=graph_dtype(leaf.dtype or dtype), shape=leaf.shape)
        for name, leaf in zip(unique_names(stems), leaves, strict=True)
    ]
