"""What is said of an export of a model or a file: what was written, how it was proven, what to know."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.convert.passes.random_numbers import OPERATORS as DRAWING
from zoo.convert.patches import half_precision
from zoo.convert.signature import BATCH
from zoo.convert.text import TEXT_OPSET
from zoo.export.export import Export
from zoo.parity import samples as rows
from zoo.parity.compare import Comparison
from zoo.parity.variants import PORTABLE_SUFFIX, Variant
from zoo.publish.manifest import variant_entry

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written and how it was proven. Plain values; `to_json` gives them as a dict.

    `data` is the file with the weights of the one at `path`, if they lie outside; `bytes` are of both.
    """

    path: Path
    bytes: int
    sha256: str
    opset: int
    ir_version: int
    nodes: int
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    samples: str
    parity: tuple[Comparison, ...]
    notes: tuple[str, ...]
    seconds: float
    data: Path | None = None
    portable: Path | None = None
    portable_parity: tuple[Comparison, ...] = ()
    smaller: tuple[Variant, ...] = ()

    @property
    def max_abs(self) -> float:
        """The largest difference from Keras in any runtime, of any file."""
        return max((row.max_abs for row in (*self.parity, *self.portable_parity)), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(replace(self, smaller=())) | {
            "path": str(self.path),
            "data": str(self.data) if self.data else None,
            "portable": str(self.portable) if self.portable else None,
            "smaller": [variant_entry(variant) for variant in self.smaller],
            "max_abs": self.max_abs,
        }


def samples_text(samples: object) -> str:
    """Say on what rows a model was compared."""
    return f"random rows, seed {rows.SEED}" if samples is None else "given rows"


def report(
    model: keras.Model, path: Path, exported: Export, samples: object, seconds: float
) -> ExportReport:
    """Return the report of an export whose files lie at `path` and beside it."""
    first, *others = exported.variants
    assert first.written is not None  # export() writes the model itself, or raises
    portable = next((v for v in others if v.file.endswith(PORTABLE_SUFFIX)), None)
    return ExportReport(
        path=path,
        bytes=first.written.bytes,
        sha256=first.written.sha256,
        data=path.with_name(first.written.data) if first.written.data else None,
        opset=first.graph["opset"],
        ir_version=first.graph["ir_version"],
        nodes=first.graph["nodes"],
        inputs=tuple(first.graph["inputs"]),
        outputs=tuple(first.graph["outputs"]),
        samples=samples_text(samples),
        parity=exported.proofs[first.file].report.comparisons,
        notes=tuple(notes(model, samples, exported)),
        seconds=seconds,
        portable=path.with_name(portable.file) if portable else None,
        portable_parity=exported.proofs[portable.file].report.comparisons if portable else (),
        smaller=tuple(variant for variant in others if variant.measured),
    )


def notes(model: keras.Model, samples: object, exported: Export) -> list[str]:
    """Return what a reader of the figures must know: precision, rows, runtimes left out."""
    policies = half_precision(model)
    lines = [f"{', '.join(policies)}: exported and compared in float32"] if policies else []
    kinds = Counter(exported.variants[0].graph["operators"])
    if drawn := sum(kinds[kind] for kind in DRAWING.values()):
        lines.append(
            f"the file draws random numbers, anew in each call ({drawn} times): compared with the "
            "numbers as inputs"
        )
    if samples is None:
        lines.append(f"no samples given: compared on random rows (seed {rows.SEED})")
    batches = {
        tensor["shape"][0] for tensor in exported.variants[0].graph["inputs"] if tensor["shape"]
    }
    lines += [
        f"the batch is {size}, the one that the model takes" for size in batches if size != BATCH
    ]
    if "StringConcat" in exported.variants[0].graph["operators"]:
        lines.append(f"opset {TEXT_OPSET} at least, which has operators on text")
    return [*lines, *exported.notes]
