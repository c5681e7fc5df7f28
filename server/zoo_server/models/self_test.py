"""The self-test: a loaded graph must reproduce the test vectors beside it before it is served.

    vectors ──run──> answers ──within the tolerance──> served, else ModelLoadError with the place

The vectors' outputs are the model's own framework's, so this also catches an execution provider
that computes otherwise on this machine, and not only damaged files.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from zoo_server.datatypes import TensorSpec
from zoo_server.errors import ExecutionError, InvalidRequest, ModelLoadError
from zoo_server.inference.cancellation import Cancellation
from zoo_server.models.model_runtime import TypedGraph
from zoo_server.repository.vectors import NamedTensors, Tolerance, Vectors

Arrays = Mapping[str, np.ndarray]


def run_self_test(
    graph: TypedGraph,
    vectors: Sequence[Vectors],
    tolerance: Tolerance,
    cancellation: Cancellation | None = None,
) -> None:
    """Run every set of vectors; ModelLoadError names the first answer beyond the tolerance."""
    outputs = [_by_name(item.outputs, graph.outputs) for item in vectors]
    scales = _scales(outputs)
    for item, expected in zip(vectors, outputs, strict=True):
        feeds = _by_name(item.inputs, graph.inputs)
        try:
            answers = graph.run(list(expected), feeds, cancellation=cancellation)
        except (ExecutionError, InvalidRequest) as error:
            raise ModelLoadError(f"self-test: {item.name} cannot be run: {error}") from error
        for (name, expected_array), answer in zip(expected.items(), answers, strict=True):
            reason = _differs(expected_array, answer, tolerance, scales[name])
            if reason:
                raise ModelLoadError(f"self-test: {item.name}, output '{name}': {reason}")


def _by_name(tensors: NamedTensors, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Return tensors by name; one that a file does not name is the graph's at that position."""
    if len(tensors) > len(specs):
        raise ModelLoadError(f"self-test: {len(tensors)} vectors for {len(specs)} tensors")
    return {name or spec.name: array for (name, array), spec in zip(tensors, specs, strict=False)}


def _scales(outputs: Sequence[Arrays]) -> dict[str, float]:
    """Return max|expected| of each output over all sets."""
    scales: dict[str, float] = {}
    for arrays in outputs:
        for name, array in arrays.items():
            numbers = array[np.isfinite(array)] if array.dtype.kind == "f" else np.zeros(0)
            largest = float(np.abs(numbers.astype(np.float64)).max(initial=0.0))
            scales[name] = max(scales.get(name, 0.0), largest)
    return scales


def _differs(
    expected_array: np.ndarray, answer: np.ndarray, tolerance: Tolerance, scale: float
) -> str:
    """Say how an answer differs, empty if it does not; all but floats must be the same."""
    if answer.shape != expected_array.shape or answer.dtype != expected_array.dtype:
        return f"{answer.dtype}{list(answer.shape)} instead of {expected_array.dtype}{list(expected_array.shape)}"
    same = answer == expected_array
    if expected_array.dtype.kind == "f":
        same |= (answer != answer) & (expected_array != expected_array)  # NaN agrees with NaN
        left, right = expected_array.astype(np.float64), answer.astype(np.float64)
        both = np.isfinite(left) & np.isfinite(right)
        delta = np.abs(np.where(both, left - np.where(both, right, 0.0), 0.0))
        allowed = tolerance.scaled * scale + tolerance.relative * np.abs(np.where(both, left, 0.0))
        same |= both & (delta <= allowed)
    if same.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    count = int(np.count_nonzero(~same))
    return f"{answer[at]!s} instead of {expected_array[at]!s} at {list(at)}, {count} of {same.size} elements"
