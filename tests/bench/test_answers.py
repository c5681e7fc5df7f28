"""Answers: right or wrong by value, a drive right or wrong by its bytes."""

import numpy as np
import pytest

from bench.answers import check_bytes, compare
from bench.load import LoadError, Measured


def test_an_answer_may_differ_in_its_last_bits_only():
    """Runtimes round differently; a wrong row, or a row too few, is an error."""
    right = np.array([0.25, 0.75], np.float32)

    compare(right + 1e-6, right)
    for wrong in (right[::-1], right[:1], right + 0.01):
        with pytest.raises(LoadError, match="the answer is wrong"):
            compare(wrong, right)


def test_answers_without_a_body_are_failed_calls():
    """gRPC's errors are HTTP 200, with the status in the trailers."""
    good = Measured(answered=1000, per_second=1, p50=1, p99=1, data_bytes=55_000, elapsed=1)
    some = Measured(answered=1000, per_second=1, p50=1, p99=1, data_bytes=45_000, elapsed=1)

    check_bytes(good, 55, 8)
    with pytest.raises(LoadError, match="some calls failed"):
        check_bytes(some, 55, 8)
