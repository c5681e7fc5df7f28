"""Checks answers: one by its values, those of a whole drive by their bytes."""

import numpy as np

from bench.load import LoadError, Measured

#: Answers of other runtimes and batch sizes differ in the last bits.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4

#: How far the received bytes may be from answers × size: the requests cut off at the end.
_SLACK = 0.02


def compare(answer: np.ndarray, right: np.ndarray) -> None:
    """LoadError unless an answer is session.run's."""
    if not same(answer, right):
        raise LoadError(f"the answer is wrong: {answer[:3]} and not {right[:3]}")


def same(answer: np.ndarray, right: np.ndarray) -> bool:
    """Tell whether an answer is the right one, up to rounding."""
    return answer.shape == right.shape and bool(
        np.allclose(answer, right, rtol=_RELATIVE, atol=_ABSOLUTE * max(1, np.abs(right).max()))
    )


def check_bytes(measured: Measured, size: int, in_flight: int) -> None:
    """LoadError unless the received bytes are those of as many right answers.

    An error travels as a status in the trailers of an HTTP 200, which h2load takes for a success;
    such an answer has no body.
    """
    expected = measured.answered * size
    if abs(measured.data_bytes - expected) > _SLACK * expected + in_flight * size:
        raise LoadError(
            f"{measured.answered} answers of {size} bytes make {expected}, and "
            f"{measured.data_bytes} came: some calls failed"
        )
