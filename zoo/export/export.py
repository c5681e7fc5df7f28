"""Exports a Keras model to its ONNX files: converts, writes and proves them.

    convert -> annotate -> write -> prove         model.onnx, model.portable.onnx: equal to Keras
            -> draw                               random numbers, inputs so far, drawn by the file
            -> quantize: build, measure, judge    model.int8.onnx, model.w4.onnx ...: near to it

A recipe, a model in memory and a .keras file come here alike, and bring names, cases and metadata.
Weights that one file cannot hold lie beside it, in model.onnx.data; so do others where that is asked for.
What is written lies in the caller's staged folder, so that a failure leaves nothing behind.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.convert.conversion import Conversion, convert, facts
from zoo.convert.passes.annotate import annotate
from zoo.convert.passes.random_numbers import draw_inside
from zoo.convert.signature import Signature
from zoo.convert.weights import large_variables
from zoo.export.model_file import complete, write_model
from zoo.export.options import ExportOptions
from zoo.files import sha256
from zoo.parity.compare import Case, Policy, Tolerance
from zoo.parity.conditioning import Keras, prove_ill_conditioned
from zoo.parity.prove import Proof, prove
from zoo.parity.random_numbers import check_drawn
from zoo.parity.variants import (
    MODEL_TITLE,
    PORTABLE_SUFFIX,
    PORTABLE_TITLE,
    Variant,
    Written,
)
from zoo.quantize.decision import NONE
from zoo.quantize.evidence import Evidence
from zoo.quantize.variants import smaller_variants
from zoo_server.malloc import heap
from zoo_server.repository import layout

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What every file of a model says of itself: properties, and a sentence for each tensor."""

    properties: Mapping[str, str]
    documents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """What the files are held against; `keep` is the case whose answers come back.

    `keras`, if it is known, is asked about files that differ: the model may be ill-conditioned.
    """

    all: tuple[Case, ...]
    keep: Case | None = None
    keras: Keras | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The variants, the model itself first, and the proof of each that is equal to Keras.

    `states`: inputs, with the outputs that they are in a sequence's next call.
    """

    variants: tuple[Variant, ...]
    proofs: Mapping[str, Proof]
    cases: Cases
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def written(self) -> list[str]:
        """The names of the files in the folder, each model's external data before it."""
        return [file for variant in self.variants for file in variant.files]

    @property
    def notes(self) -> list[str]:
        """Where weights lie, and which runtimes were left out of a proof and why, by file."""
        lines = [
            f"{variant.file} reads its weights from {variant.written.data}: keep the two together"
            for variant in self.variants
            if variant.written is not None and variant.written.data
        ]
        for file, proof in self.proofs.items():
            prefix = f"{file}: " if len(self.proofs) > 1 else ""
            lines += [f"{prefix}{note}" for note in proof.notes]
        return lines


def export(
    model: keras.Model,
    signature: Signature,
    cases: Callable[[Conversion], Cases],
    policy: Policy,
    *,
    folder: Path,
    options: ExportOptions,
    metadata: Metadata,
    evidence: Callable[[], Evidence],
    file: str = layout.MODEL_FILE,
) -> Export:
    """Write a model's ONNX files into a folder, the first as `file`, each proven or measured.

    `evidence` is asked for only where `options.quantize` wants a smaller variant. Raises CheckFailed
    if the model cannot be converted right, a file is not proven, or a smaller variant that was
    requested by name loses too much.
    """
    conversion = convert(
        model,
        signature=signature,
        opset=options.opset,
        reset_states=options.reset_states,
        portable=options.portable,
    )
    if large_variables(model):
        # Graphs that TensorFlow traced, whose parts hold one another: of a ResNet152V2 0.1 GB.
        gc.collect()
    heap.stage_ended()
    for graph in filter(None, (conversion.onnx, conversion.portable)):
        annotate(graph, metadata.properties, metadata.documents)
    variants = _exact(conversion, file, policy.tolerance, folder, external=options.external_data)
    heap.stage_ended()
    compared = cases(conversion)
    proofs = {}
    for i, variant in enumerate(variants):
        if variant.written is None:
            continue
        path = folder / variant.file
        proof, tolerance = _prove(path, compared, policy)
        proofs[variant.file] = proof
        variants[i] = replace(variant, tolerance=tolerance)
        if signature.draws:
            proven = conversion.onnx if i == 0 else conversion.portable
            assert proven is not None  # a variant that was written has one
            drawing = draw_inside(proven, signature.draws)
            annotate(drawing, metadata.properties, metadata.documents)
            written = write_model(drawing, path, conversion.large, external=options.external_data)
            variants[i] = replace(variants[i], written=written, graph=facts(drawing))
            check_drawn(path, compared.all)
    if options.quantize != NONE:
        for smaller in smaller_variants(
            complete(conversion.onnx, conversion.large),
            evidence(),
            requested=options.quantize,
            max_loss=options.max_loss,
            file=file,
        ):
            variants.append(_write(smaller, folder))
    states = dict(signature.states)
    return Export(variants=tuple(variants), proofs=proofs, cases=compared, states=states)


def _prove(path: Path, cases: Cases, policy: Policy) -> tuple[Proof, Tolerance]:
    """Return the proof of a file, and the tolerance that it is within; CheckFailed if there is none."""
    proof, tolerance = prove(path, cases.all, policy, keep=cases.keep), policy.tolerance
    if not proof.report.ok and cases.keras is not None:
        proof, tolerance = prove_ill_conditioned(proof, path, cases.all, policy, cases.keras)
    proof.require()
    return proof, tolerance


def _write(variant: Variant, folder: Path) -> Variant:
    """Write a variant that is in memory, if it is."""
    if variant.content is None:
        return variant
    path = folder / variant.file
    path.write_bytes(variant.content)
    written = Written(bytes=len(variant.content), sha256=sha256(path))
    return replace(variant, content=None, written=written)


def _exact(
    conversion: Conversion, file: str, tolerance: Tolerance, folder: Path, *, external: bool
) -> list[Variant]:
    """Write the files that are to be equal to Keras, the model itself first."""
    portable = file.removesuffix(".onnx") + PORTABLE_SUFFIX
    graphs = [(file, MODEL_TITLE, conversion.onnx)]
    if conversion.portable is not None:
        graphs.append((portable, PORTABLE_TITLE, conversion.portable))
    variants = [
        Variant(
            file=name,
            title=title,
            written=write_model(graph, folder / name, conversion.large, external=external),
            graph=facts(graph),
            tolerance=tolerance,
        )
        for name, title, graph in graphs
    ]
    if conversion.no_portable:
        reason = conversion.no_portable
        variants.append(Variant(file=portable, title=PORTABLE_TITLE, reason=reason))
    return variants
