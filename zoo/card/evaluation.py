"""What held-out rows say beyond one metric: figures of each class, calibration, the spread of errors. Pure numpy.

classes       rows, precision, recall and F1 of each class
calibration   by the model's confidence in its answer: rows, mean confidence, share that is right
errors        the median, nine tenths and the largest of |truth - answer|
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.training.metrics import decisions

#: Equal intervals of confidence.
BINS = 10


def evaluation(
    task: str, truth: np.ndarray, outputs: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Return plain values of the first output's answers to the held-out rows."""
    if task not in ("multiclass", "binary"):
        return {"errors": _errors(truth, outputs)}
    chosen = decisions(task, outputs)
    share = outputs[..., 0].astype(np.float64)
    confidence = np.maximum(share, 1 - share) if task == "binary" else outputs.max(axis=-1)
    return {
        "classes": [_class(name, truth == at, chosen == at) for at, name in enumerate(classes)],
        "calibration": _calibration(confidence.astype(np.float64), chosen == truth),
    }


def _class(name: str, is_true: np.ndarray, is_answer: np.ndarray) -> dict[str, Any]:
    """Return one class's figures; one that is undefined, such as 0 of 0, is None."""
    hits, rows, answers = (int(x.sum()) for x in (is_true & is_answer, is_true, is_answer))
    return {
        "class": name,
        "rows": rows,
        "precision": _ratio(hits, answers),
        "recall": _ratio(hits, rows),
        "f1": _ratio(2 * hits, rows + answers),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _calibration(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Return the bins that have rows, and their mean gap between confidence and truth, by rows."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = []
    for place in np.unique(places):
        here = places == place
        bins.append(
            {
                "from": round(int(place) / BINS, 2),
                "to": round((int(place) + 1) / BINS, 2),
                "rows": int(here.sum()),
                "confidence": round(float(confidence[here].mean()), 4),
                "right": round(float(right[here].mean()), 4),
            }
        )
    gaps = sum(each["rows"] * abs(each["confidence"] - each["right"]) for each in bins)
    return {"error": round(float(gaps / len(right)), 4), "bins": bins}


def _errors(truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    errors = np.abs(outputs.astype(np.float64) - truth.reshape(outputs.shape))
    return {
        "median": float(f"{np.median(errors):.4g}"),
        "nine_tenths": float(f"{np.quantile(errors, 0.9):.4g}"),
        "largest": float(f"{errors.max():.4g}"),
    }
