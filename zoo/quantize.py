"""Smaller variants of an exported model, published only where measurement says they win.

    int8   onnxruntime's static quantisation in QDQ form, calibrated on training rows
    fp16   weights and arithmetic in half precision; inputs and outputs stay float32

On tutorial-sized models quantisation usually makes files larger and runs slower: the scales and
the conversions around each operator outweigh what they save. So `auto` builds both, measures both
beside float32 in one process, and keeps what is better in size or time without losing accuracy;
the report says why the others were not kept.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import CheckFailed
from zoo.verify import Arrays, Session

#: What may be asked for; `auto` tries all kinds.
KINDS = ("int8", "fp16")

#: How much worse the metric may be: this share of an accuracy's scale, or of an error itself.
ACCURACY_LOSS = 0.005

#: A variant must be at least this much smaller or faster: less is noise.
GAIN = 0.05

CALIBRATION_ROWS, CALIBRATION_BATCH = 256, 16
ROUNDS, RUNS = 9, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One form of a model as measured: metric on held-out rows, bytes, microseconds at batch 1."""

    kind: str
    file: str
    metric: float
    bytes: int
    microseconds: float
    kept: bool
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the variant as JSON-able values."""
        return asdict(self)


def decide(
    base: Variant, metric: float, size: int, microseconds: float, *, higher_is_better: bool
) -> tuple[bool, str]:
    """Return whether a variant wins over float32, and why, in words."""
    loss = base.metric - metric if higher_is_better else (metric - base.metric) / abs(base.metric)
    if not loss <= ACCURACY_LOSS:
        change = f"the metric goes from {base.metric:.4g} to {metric:.4g}"
        return False, f"{change}, more than the {ACCURACY_LOSS:.1%} allowed"
    smaller, faster = 1 - size / base.bytes, 1 - microseconds / base.microseconds
    gains = [
        f"{gain:.0%} {word}"
        for gain, word in ((smaller, "smaller"), (faster, "faster"))
        if gain >= GAIN
    ]
    costs = [
        f"{-gain:.0%} {word}"
        for gain, word in ((smaller, "larger"), (faster, "slower"))
        if -gain >= GAIN
    ]
    if gains and not costs:
        return True, " and ".join(gains)
    # A trade of one for the other is for the user to make, by asking for the kind by name.
    return False, f"{gains[0]} but {costs[0]}" if gains else " and ".join(costs or ["no gain"])


def build_variants(
    model: Path,
    kinds: Sequence[str],
    *,
    calibration: Arrays,
    sample: Arrays,
    load: Callable[[Path], Session],
    measure: Callable[[Session], float],
    higher_is_better: bool,
    force: bool = False,
) -> tuple[Variant, ...]:
    """Write variants beside a model file and measure them; files that do not win are removed.

    `calibration` are training rows, `sample` one row to time; `measure` gives a session's metric
    on held-out rows. The first variant returned is float32 itself. With `force` a kind that was
    asked for by name is kept wherever it runs; the report is the same. Raises CheckFailed if a
    kind asked for by name cannot be built.
    """
    paths, failures = {"fp32": model}, {}
    for kind in kinds:
        path = model.with_name(f"{model.stem}.{kind}{model.suffix}")
        try:
            _BUILDERS[kind](model, path, calibration)
            load(path)(sample)
            paths[kind] = path
        except Exception as error:  # the quantiser and the runtime may raise anything
            path.unlink(missing_ok=True)
            failures[kind] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
            if force:
                raise CheckFailed(f"{kind} cannot be built: {failures[kind]}") from error
    sessions = {kind: load(path) for kind, path in paths.items()}
    times = _microseconds(sessions, sample)
    base = _variant("fp32", model, measure(sessions["fp32"]), times["fp32"], (True, "the original"))
    variants = [base]
    for kind, path in paths.items():
        if kind == "fp32":
            continue
        metric = measure(sessions[kind])
        verdict = decide(
            base, metric, path.stat().st_size, times[kind], higher_is_better=higher_is_better
        )
        kept = force or verdict[0]
        variants.append(_variant(kind, path, metric, times[kind], (kept, verdict[1])))
        if not kept:
            path.unlink()
    return (*variants, *(_failed(kind, model, reason) for kind, reason in failures.items()))


def _variant(
    kind: str, path: Path, metric: float, microseconds: float, verdict: tuple[bool, str]
) -> Variant:
    return Variant(
        kind=kind,
        file=path.name,
        metric=metric,
        bytes=path.stat().st_size,
        microseconds=round(microseconds, 2),
        kept=verdict[0],
        reason=verdict[1],
    )


def _failed(kind: str, model: Path, reason: str) -> Variant:
    return Variant(
        kind=kind,
        file=f"{model.stem}.{kind}{model.suffix}",
        metric=float("nan"),
        bytes=0,
        microseconds=float("nan"),
        kept=False,
        reason=reason,
    )


def _microseconds(sessions: Mapping[str, Session], sample: Arrays) -> dict[str, float]:
    """Return the median time of one run of each, taken in turn so that noise hits all alike."""
    taken: dict[str, list[float]] = {kind: [] for kind in sessions}
    for _ in range(ROUNDS):
        for kind, session in sessions.items():
            begun = time.perf_counter()
            for _ in range(RUNS):
                session(sample)
            taken[kind].append((time.perf_counter() - begun) / RUNS * 1e6)
    return {kind: statistics.median(values) for kind, values in taken.items()}


class _Rows:
    """Calibration rows as onnxruntime's reader wants them, in batches of one size.

    Batches of different sizes break its entropy calibration (onnxruntime issue 18792).
    """

    def __init__(self, calibration: Arrays) -> None:
        rows = min(CALIBRATION_ROWS, *(len(array) for array in calibration.values()))
        batches = range(0, rows - rows % CALIBRATION_BATCH or rows, CALIBRATION_BATCH)
        self._batches: Iterator[dict[str, np.ndarray]] = (
            {name: array[i : i + CALIBRATION_BATCH] for name, array in calibration.items()}
            for i in batches
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, None when there is none."""
        return next(self._batches, None)


def _int8(model: Path, target: Path, calibration: Arrays) -> None:
    """Quantise statically: unsigned activations, signed weights per channel, QDQ form."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared")
    try:
        with _quiet():
            quant_pre_process(model, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                _Rows(calibration),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
    finally:
        prepared.unlink(missing_ok=True)


def _fp16(model: Path, target: Path, calibration: Arrays) -> None:
    """Convert to half precision between a float32 input and a float32 output."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _quiet():
        converted = convert_float_to_float16(onnx.load(model), keep_io_types=True)
    onnx.save(converted, target)


_BUILDERS: Mapping[str, Callable[[Path, Path, Arrays], None]] = {"int8": _int8, "fp16": _fp16}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice to itself: it speaks to people who call it by hand."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
