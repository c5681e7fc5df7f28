"""Names and dimensions of inputs and outputs, as far as they follow from values alone."""

from __future__ import annotations

import pytest

from zoo.convert.signature import Signature, Tensor


def _tensor(name: str, *shape: int | None) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=shape)


def _dims(*tensors: Tensor) -> dict[str, tuple[int | str, ...]]:
    return Signature(inputs=tensors, output_names=None, structure=None).input_dims()


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ((None, 4), ("batch", 4)),
        ((2, 4), (2, 4)),
        ((None, None), ("batch", "time")),
        ((None, None, 3), ("batch", "time", 3)),
        ((None, 8, None), ("batch", 8, "x_2")),
        ((None, None, None, 3), ("batch", "height", "width", 3)),
        ((None, 32, None, 3), ("batch", 32, "width", 3)),
        ((None, None, None, None, 1), ("batch", "depth", "height", "width", 1)),
    ],
)
def test_unknown_dimensions_have_the_usual_names(
    shape: tuple[int | None, ...], dims: tuple[int | str, ...]
) -> None:
    """By the number of dimensions, where one input alone has any."""
    assert _dims(_tensor("x", *shape), _tensor("other", None, 2))["x"] == dims


def test_two_inputs_of_unknown_length_do_not_promise_the_same_one() -> None:
    """Both would be called `time`, and a runtime would hold the caller to it."""
    dims = _dims(_tensor("a", None, None, 3), _tensor("b", None, None, 3))

    assert dims == {"a": ("batch", "a_1", 3), "b": ("batch", "b_1", 3)}
