"""Exports a Keras model in memory to one ONNX file, which is written only once it is proven equal.

    export (zoo/export/export.py) into a hidden folder beside the file -> rename

Nothing is left behind on failure. `zoo.export_model` is this module's `export_model`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.convert.build import build
from zoo.convert.conversion import Conversion
from zoo.convert.opsets import OPSET
from zoo.convert.signature import Signature
from zoo.convert.specification import check_model, signature_of
from zoo.convert.states import put_back, state_pairs, with_states
from zoo.convert.weights import large_variables
from zoo.errors import CheckFailed, UsageError
from zoo.export.export import Cases, Export, Metadata, export
from zoo.export.options import ExportOptions
from zoo.export.report import ExportReport, report
from zoo.export.tensorflow_models import keras_3_model
from zoo.files import staged_folder
from zoo.parity import samples as rows
from zoo.parity.answered_rows import answered_rows
from zoo.parity.compare import Policy, Tolerance
from zoo.parity.external_data import external_files
from zoo.parity.keras_answers import refuse_state
from zoo.parity.keras_layers import KerasModel
from zoo.parity.steps import first_steps
from zoo.parity.variants import PORTABLE_SUFFIX, Variant
from zoo.publish.properties import stable_name, states_text
from zoo.quantize.decision import NONE, check_requested
from zoo.quantize.evidence import Evidence, of_rows
from zoo_server.durability import flush_tree
from zoo_server.malloc import heap
from zoo_server.repository.layout import DATA_SUFFIX

if TYPE_CHECKING:
    import keras


def export_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    opset: int = OPSET,
    samples: object = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    input_signature: object = None,
    reset_states: bool = False,
    states: str | Mapping[str, str] = "",
    random: bool = False,
    portable: bool = False,
    quantize: str = NONE,
    max_loss: float | None = None,
    external_data: bool = False,
    tolerance: Tolerance | None = None,
) -> ExportReport:
    """Write a built Keras model as an ONNX file, proven equal to Keras.

    A model of tf.keras 2 (tf-keras) is taken too, and held against tf-keras. A `path` that is a folder gets a file named after the model; the report says which.

    `samples` are rows to compare on, as an array, a list in Keras's order, or a mapping by input
    name; without, seeded random rows are used and the report says so. A model that is not built
    yet is called on one sample first; without samples, a Sequential whose layers allow inputs of one
    number of dimensions only is built for any size of them. `input_signature` says what the model's call takes, as
    Keras's own `Model.export` has it: for integers and arguments that Keras does not record, or
    for a fixed batch.

    `reset_states` allows stateful layers, exported as from their reset state; `states="inputs"`
    exports each state as an input LAYER_h_before and an output LAYER_h_after (and an LSTM's c, and
    every other variable that a call writes), after the model's own. `states={"cache": "next_cache"}`
    names inputs that are the model's own, with the outputs that they go on as. Zeros begin a
    sequence, whose first steps are compared too. `random` lets the file draw the random numbers that
    the model draws at inference, anew in each call: it is proven with these numbers as inputs, and
    written without. `portable` also writes PATH's stem +
    .portable.onnx, without recurrent operators, if the model has any.

    `quantize` ("int8", "fp16", "w8", "w4", or "auto" for what wins) also writes smaller variants
    beside it as stem + .int8.onnx and so on: ranges come from one half of the samples, and on the other
    the answers may differ from fp32's by `max_loss` (zoo/quantize says in which unit).

    `external_data` writes the weights into a file beside it, PATH + .data; more than the 2 GB that one
    file holds are written so in any case. The two files belong together.

    Raises CheckFailed with one reason, and writes nothing, if the model cannot be exported right,
    or a variant requested by name loses too much; UsageError for arguments that do not fit;
    StorageError if the disk refuses.
    """
    started = time.monotonic()
    options = ExportOptions(
        opset=opset,
        portable=portable,
        reset_states=reset_states,
        states=state_pairs(states),
        quantize=quantize,
        max_loss=max_loss,
        external_data=external_data,
    )
    if random and (options.states or options.quantize != NONE):
        raise UsageError(
            "random=True: a file whose answers differ from call to call keeps no states and has no "
            "smaller variants: leave states and quantize out"
        )
    model = keras_3_model(model)
    target = _target(model, path)
    policy = _policy(tolerance)
    with staged_folder(target.parent, target.stem) as folder:
        exported = export_samples(
            model,
            folder,
            options,
            samples,
            policy=policy,
            file=target.name,
            input_names=input_names,
            output_names=output_names,
            input_signature=input_signature,
            random=random,
        )
        flush_tree(folder)
        _put_in_place(folder, exported.variants, target.parent)
    return report(model, target, exported, samples, time.monotonic() - started)


def _put_in_place(folder: Path, variants: Sequence[Variant], place: Path) -> None:
    """Rename the files into place; no model is there beside external data of another one."""
    for variant in variants:
        if not variant.files:
            continue
        model, data = place / variant.file, place / (variant.file + DATA_SUFFIX)
        own = data.is_file() and data.name in external_files(model)
        if data.is_file() and len(variant.files) > 1 and not own:
            raise UsageError(f"{data} is there, and {model.name} does not read it: move it away")
        if own or len(variant.files) > 1:
            model.unlink(missing_ok=True)
        if own:
            data.unlink()
        for name in variant.files:
            (folder / name).replace(place / name)


def _policy(tolerance: Tolerance | None) -> Policy:
    """Return how answers are judged; UsageError for what is no tolerance."""
    if tolerance is None:
        return Policy()
    if not isinstance(tolerance, Tolerance):
        raise UsageError(f"tolerance={tolerance!r}: must be a zoo.parity.compare.Tolerance")
    return Policy(tolerance=tolerance)


def _target(model: keras.Model, path: str | os.PathLike[str]) -> Path:
    """Return where the file goes; UsageError for what can hold none, and for what is no file."""
    regular = True
    try:
        target = Path(path)
        if stat.S_ISDIR(target.stat().st_mode):
            target /= f"{stable_name(model)}.onnx"
        regular = stat.S_ISREG(target.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (TypeError, ValueError, OSError) as error:
        raise UsageError(f"{path!r} is not the path of a file: {error}") from error
    if not regular:
        raise UsageError(f"{target} is there and is not a file: name one, such as model.onnx")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: there is no such folder")
    return target


def export_samples(
    model: keras.Model,
    folder: Path,
    options: ExportOptions,
    samples: object,
    *,
    file: str,
    policy: Policy | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    input_signature: object = None,
    random: bool = False,
) -> Export:
    """Export a model into a folder, held against Keras on samples, or on random rows for None.

    Raises CheckFailed also for a portable variant that was requested and cannot be.
    """
    check_model(model)
    check_requested(options.quantize, with_rows=samples is not None)
    build(model, samples)
    bounded = heap.returning_large_blocks() if large_variables(model) else nullcontext()
    with bounded, put_back(model):
        signature = signature_of(
            model,
            input_names=input_names,
            output_names=output_names,
            input_signature=input_signature,
            samples=samples,
        )
        if options.states:
            signature = with_states(model, signature, options.states)
        exported = _export(
            model, signature, folder, options, samples, file, policy or Policy(), random
        )
    for variant in exported.variants:
        if variant.reason and variant.file.endswith(PORTABLE_SUFFIX):
            raise CheckFailed(f"{model.name}: {variant.reason}: leave --portable out")
    return exported


def _export(
    model: keras.Model,
    signature: Signature,
    folder: Path,
    options: ExportOptions,
    samples: object,
    file: str,
    policy: Policy,
    random: bool,
) -> Export:
    """Export a built model, held against Keras on rows that it answers."""
    reset = options.reset_states
    # Before the conversion: a first call may set up what later ones use.
    signature, answered = answered_rows(
        model, signature, samples, reset_states=reset, random=random
    )

    def cases(conversion: Conversion) -> Cases:
        refuse_state(model, conversion.written, signature, answered[0].all_feeds)
        rows = tuple(row.case(conversion.outputs) for row in answered)
        if signature.states:
            rows += first_steps(model, signature, conversion.outputs, answered[-1])
        keras = KerasModel(
            model=model, signature=signature, outputs=conversion.outputs, reset_states=reset
        )
        # Other numbers drawn would be another model.
        return Cases(all=rows, keras=None if signature.draws else keras)

    def evidence() -> Evidence:
        batch = signature.inputs[0].shape[0]
        return of_rows(rows.sample_rows(signature, samples), rows.SEED, batch)

    return export(
        model,
        signature,
        cases,
        policy,
        folder=folder,
        options=options,
        metadata=Metadata(properties=_properties(model, signature)),
        evidence=evidence,
        file=file,
    )


def _properties(model: keras.Model, signature: Signature) -> dict[str, str]:
    """Return what a file says of itself: its name, and the states that whoever runs it hands on."""
    pairs = {"states": states_text(signature.states)} if signature.states else {}
    return {"name": stable_name(model)} | pairs
