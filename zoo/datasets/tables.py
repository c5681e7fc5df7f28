"""Tables of measurements: scikit-learn's iris, breast cancer and diabetes, in natural units."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.datasets.dataset import Dataset, Splits
from zoo.datasets.splitting import split_rows


def read_classes(files: tuple[Path, ...]) -> Splits:
    """Read a CSV of scikit-learn: a header, then features and a class number a line."""
    table = np.loadtxt(files[0], delimiter=",", skiprows=1)
    return split_rows(table[:, :-1].astype(np.float32), table[:, -1].astype(np.int32), seed=1)


def read_regression(files: tuple[Path, ...]) -> Splits:
    """Read features and one target a row from two gzipped tables of scikit-learn."""
    x, y = (np.loadtxt(file, dtype=np.float32) for file in files)
    return split_rows(x, y[:, None], seed=1)


IRIS = Dataset(
    name="iris",
    title="Iris flowers",
    source="R. A. Fisher, 1936, as shipped in scikit-learn",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    package="sklearn",
    paths=("datasets/data/iris.csv",),
    read=read_classes,
    classes=("setosa", "versicolor", "virginica"),
    features=("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
)

_CELL = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)

CANCER = Dataset(
    name="breast_cancer",
    title="Breast cancer, Wisconsin (diagnostic)",
    source="W. H. Wolberg, W. N. Street and O. L. Mangasarian, 1995, as shipped in scikit-learn",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    package="sklearn",
    paths=("datasets/data/breast_cancer.csv",),
    read=read_classes,
    classes=("malignant", "benign"),
    features=tuple(
        f"{prefix} {name}" if prefix != "error" else f"{name} error"
        for prefix in ("mean", "error", "worst")
        for name in _CELL
    ),
)

DIABETES = Dataset(
    name="diabetes",
    title="Diabetes progression after one year",
    source="B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, 2004, as shipped in scikit-learn",
    licence="published with the paper 'Least Angle Regression'; shipped under scikit-learn's BSD-3",
    package="sklearn",
    # The raw table: the ten variables as they were measured, not scikit-learn's scaled ones.
    paths=("datasets/data/diabetes_data_raw.csv.gz", "datasets/data/diabetes_target.csv.gz"),
    read=read_regression,
    features=(
        "age (years)",
        "sex (1 or 2)",
        "body mass index (kg/m²)",
        "average blood pressure (mm Hg)",
        "s1: total serum cholesterol",
        "s2: low-density lipoproteins",
        "s3: high-density lipoproteins",
        "s4: total cholesterol / HDL",
        "s5: log of serum triglycerides level",
        "s6: blood sugar level",
    ),
    units="disease progression score (25 to 346)",
)
