"""The honest baseline: what a linear model reaches that is trained on the same rows.

Logistic regression for classes, ridge regression for values, and an autoregression for the next
value of a series: scikit-learn's, with its own settings, on standardised inputs. The network that
does not beat it is not worth its weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.datasets.dataset import Floats, Rows
from zoo.errors import MissingPackage
from zoo.recipes.recipe import Recipe
from zoo.training.metrics import metric_value

NAMES: Mapping[str, str] = {
    "multiclass": "logistic regression",
    "binary": "logistic regression",
    "regression": "ridge regression",
    "forecast": "autoregression",
}

#: Steps of the solver: its default of 100 is too few for images, and more change little.
MOST_STEPS = 200

#: A figure's digits: the last bits depend on the machine's linear algebra, and a record must not.
DIGITS = 6


def linear_metric(recipe: Recipe, train: Rows, test: Rows) -> float:
    """Return the recipe's metric, to six digits, of a linear model of `train` on `test`."""
    if recipe.metric == "accuracy":
        outputs = _class_shares(recipe, train, test)
    elif recipe.task == "forecast" and train.y.ndim == train.x.ndim:
        # A sequence answers at each step, and knows what came until then.
        steps = range(train.x.shape[1])
        outputs = np.stack(
            [_values(train.x[:, : t + 1], train.y[:, t], test.x[:, : t + 1]) for t in steps], axis=1
        )
    else:
        outputs = _values(_flat(train), train.y, _flat(test), ridge=recipe.task == "regression")
    return float(f"{metric_value(recipe, test, outputs):.{DIGITS}g}")


def _class_shares(recipe: Recipe, train: Rows, test: Rows) -> np.ndarray:
    """Return each row's probabilities, as the recipe's own model gives them."""
    sklearn = _sklearn()
    model = sklearn.linear_model.LogisticRegression(max_iter=MOST_STEPS)
    scaler = sklearn.preprocessing.StandardScaler().fit(_flat(train))
    with warnings.catch_warnings():
        # A solver that has not ended says so; what it has reached is measured all the same.
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        model.fit(scaler.transform(_flat(train)), train.y)
    shares: np.ndarray = model.predict_proba(scaler.transform(_flat(test)))
    return shares[:, 1:] if recipe.task == "binary" else shares


def _values(x: Floats, y: np.ndarray, test_x: Floats, *, ridge: bool = False) -> np.ndarray:
    """Return the values that a linear model of x and y gives for `test_x`, in y's shape."""
    sklearn = _sklearn()
    linear = sklearn.linear_model
    model = linear.Ridge() if ridge else linear.LinearRegression()
    rows = x.reshape(len(x), -1).astype(np.float64)
    scaler = sklearn.preprocessing.StandardScaler().fit(rows)
    model.fit(scaler.transform(rows), y.astype(np.float64))
    test_rows = test_x.reshape(len(test_x), -1).astype(np.float64)
    values: np.ndarray = model.predict(scaler.transform(test_rows))
    return values.reshape(len(test_x), *y.shape[1:])


def _flat(rows: Rows) -> np.ndarray:
    """Return all inputs of each row, side by side."""
    return np.concatenate([x.reshape(len(x), -1) for x in rows.inputs], axis=1).astype(np.float64)


def _sklearn() -> Any:
    try:
        import sklearn.exceptions
        import sklearn.linear_model
        import sklearn.preprocessing
    except ModuleNotFoundError as error:
        raise MissingPackage("scikit-learn", "the linear baseline") from error
    return sklearn
