"""The linear baseline, where its answer is known."""

import numpy as np

from zoo.datasets.dataset import Rows
from zoo.recipes.dense import dense_cancer, dense_diabetes, dense_iris
from zoo.recipes.lstm import lstm_sunspots, lstm_sunspots_sequence
from zoo.training.linear import linear_metric

RNG = np.random.default_rng(1)


def _series(steps: int, *, every: bool) -> Rows:
    """Windows of a wave, which an autoregression of two values continues exactly."""
    wave = np.sin(np.arange(200) * 0.7).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(wave, steps + 1)
    y = windows[:, 1:, None] if every else windows[:, -1:]
    return Rows(x=windows[:, :-1, None].copy(), y=y.copy())


def test_it_knows_what_is_linear() -> None:
    """Separable classes, a plane, and a wave."""
    x = RNG.normal(size=(90, 4)).astype(np.float32)
    three = Rows(x=x, y=np.argmax(x[:, :3], axis=1).astype(np.int32))
    two = Rows(x=x, y=(x[:, 0] > 0).astype(np.int32))
    plane = Rows(x=x, y=(x @ np.float32([1, 2, 3, 4]))[:, None])

    assert linear_metric(dense_iris, three, three) > 0.95
    assert linear_metric(dense_cancer, two, two) > 0.95
    assert linear_metric(dense_diabetes, plane, plane) < 0.1
    assert linear_metric(lstm_sunspots, _series(5, every=False), _series(5, every=False)) < 1e-4


def test_a_sequence_answers_each_step_with_what_came_until_then() -> None:
    """One value does not tell where the wave is; two do."""
    rows = _series(2, every=True)
    first = np.abs(rows.x[:, 0] - rows.y[:, 0]).mean()

    assert 0.05 < linear_metric(lstm_sunspots_sequence, rows, rows) < first / 2


def test_it_is_measured_on_the_test_rows() -> None:
    """Trained on others: labels that contradict the training are all wrong."""
    x = np.repeat(np.float32([[-1, 0, 0, 0], [1, 0, 0, 0]]), 10, axis=0)
    train = Rows(x=x, y=np.repeat(np.int32([0, 1]), 10))
    test = Rows(x=x, y=np.repeat(np.int32([1, 0]), 10))

    assert linear_metric(dense_cancer, train, test) == 0
    assert linear_metric(dense_cancer, train, train) == 1
