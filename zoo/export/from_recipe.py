"""From recipes to a repository: train what is out of date, export, prove, publish.

    train    recipe -> build/runs/<model>/          zoo/training/train.py
    export   run -> ONNX files -> parity -> models/<model>/<version>/
    check    what is published, against Keras's answers            zoo/parity/check.py

Keys are hashes of files, so that deciding that there is nothing to do imports no framework.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.card import plots
from zoo.convert.opsets import OPSET
from zoo.datasets.dataset import Rows
from zoo.errors import CheckFailed
from zoo.parity.cases import ParityCases, held_out_metric, parity_cases
from zoo.parity.check import check
from zoo.parity.compare import Case, Report
from zoo.parity.onnxruntime_session import OnnxRuntime
from zoo.parity.vectors import write_vectors
from zoo.publish import repository as publish
from zoo.publish.config import model_config
from zoo.publish.manifest import PACKAGES, Proof, manifest, write_documents
from zoo.publish.properties import documents, properties
from zoo.publish.variants import PORTABLE_FILE, PORTABLE_TITLE, Variant
from zoo.quantize.decision import NONE
from zoo.recipes.recipe import Recipe
from zoo.runtimes.results import recorded
from zoo.training.record import Record
from zoo.training.runs import RunFolder
from zoo.version import zoo_version
from zoo_server.repository import layout

if TYPE_CHECKING:
    from zoo.convert.conversion import Conversion

#: Sources whose change may change what is published, as patterns below zoo/: everything but the
#: command line and client.
EXPORT_SOURCES = (
    "card/*.py",
    "convert/**/*.py",
    "export/*.py",
    "parity/*.py",
    "publish/*.py",
    "quantize/*.py",
    "recipes/architecture.py",
    "runtimes/record.py",
    "runtimes/page.py",
    "runtimes/results.py",
    "table.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user may choose about an export; part of its key, and in the manifest.

    `quantize` is one of quantize.decision.CHOICES, and `max_loss` None for the metric's default.
    """

    opset: int = OPSET
    quantize: str = NONE
    max_loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One model's way into the repository; `seconds` is 0 when it was up to date."""

    name: str
    version: int
    fresh: bool
    created: bool
    config_kept: bool
    seconds: float
    manifest: Mapping[str, Any]


def export_key(recipe: Recipe, run: RunFolder, options: Options) -> str:
    """Return what a publication of this run depends on, as one hash; imports no framework."""
    assert run.record is not None
    folder = Path(__file__).parents[1]
    parts = [
        run.record.key,
        run.record.weights_sha256,
        asdict(options),
        *(
            publish.sha256(path)
            for source in EXPORT_SOURCES
            for path in sorted(folder.glob(source))
        ),
        *(metadata.version(package) for package in PACKAGES),
        zoo_version(),
    ]
    if options.quantize != NONE:
        # It builds and times the smaller variants.
        parts.append(OnnxRuntime().version() or "not installed")
    return hashlib.sha256(json.dumps([recipe.name, *parts]).encode()).hexdigest()


def current_export(
    recipe: Recipe, run: RunFolder, repository: Path, options: Options
) -> Exported | None:
    """Return the publication of this run if it is whole and up to date."""
    found = publish.published_key(repository, recipe.name)
    key = export_key(recipe, run, options)
    if found is None or found[0] != key:
        return None
    if recipe.step:
        step = publish.published_key(repository, recipe.step)
        if step is None or step[0] != key:
            return None
    values = publish.read_manifest(repository, recipe.name, found[1])
    assert values is not None
    return Exported(
        name=recipe.name,
        version=found[1],
        fresh=False,
        created=False,
        config_kept=False,
        seconds=0.0,
        # An equal version may have been there before the last export, without its measurements.
        manifest=values.values | {"variants": publish.last_variants(repository, recipe.name)},
    )


def export(
    recipe: Recipe,
    run: RunFolder,
    repository: Path,
    options: Options,
    *,
    compat: Path | None = None,
) -> Exported:
    """Convert a finished run, prove it equal to Keras, and publish it.

    What was measured below `compat` of files with these very bytes goes into the card.
    Raises CheckFailed, with nothing published, if a graph is invalid or its answers differ, or if
    a smaller variant that was asked for by name loses too much.
    """

    started = time.monotonic()
    assert run.record is not None
    model = _trained_model(recipe, run)
    held_out = run.held_out()
    job = _Job(
        recipe=recipe,
        record=run.record,
        run=run,
        model=model,
        held_out=held_out,
        key=export_key(recipe, run, options),
        options=options,
        compat=compat,
    )
    if recipe.step:
        # First, so that the model is only up to date once its step is, too.
        _publish(_step_of(job), repository, time.monotonic())
    return _publish(job, repository, started)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One model to be converted, proven and published."""

    recipe: Recipe
    record: Record
    run: RunFolder
    model: Any
    held_out: Rows
    key: str
    options: Options
    compat: Path | None
    states: Mapping[str, str] = field(default_factory=dict)


def _step_of(job: _Job) -> _Job:
    """Return the job of publishing one step of a recurrent model."""
    from zoo.export.sequence_step import proven_rows, step_model, step_recipe, step_record

    model, states = step_model(job.model, job.recipe.step)
    recipe = step_recipe(job.recipe, states)
    return replace(
        job,
        recipe=recipe,
        record=step_record(recipe, job.record, model),
        model=model,
        held_out=proven_rows(job.model, model, job.held_out),
        options=replace(job.options, quantize=NONE, max_loss=None),
        states={state.before: state.after for state in states},
    )


def _publish(job: _Job, repository: Path, started: float) -> Exported:
    from zoo.convert.conversion import convert
    from zoo.convert.passes.annotate import annotate

    recipe, held_out, options = job.recipe, job.held_out, job.options
    made = convert(
        job.model,
        input_names=recipe.inputs,
        output_names=recipe.outputs,
        opset=options.opset,
        portable=True,
    )
    facts = properties(recipe, job.record, held_out.inputs)
    told = documents(recipe, job.record, held_out.inputs)
    for variant in filter(None, (made.onnx, made.portable)):
        annotate(variant, facts, told)
    variants = _variants(made) + _smaller(recipe, job.run, held_out, made, options)
    cases = parity_cases(recipe, job.model, held_out)
    with publish.staging(repository, recipe.name) as staged:
        proven = _write_variants(staged, recipe, variants, cases, held_out)
        values = manifest(recipe, job.record, variants, proven)
        values["options"] = asdict(options)
        values["compatibility"] = recorded(job.compat, staged).to_json()
        values["rebuild"]["export_key"] = job.key
        write_vectors(staged, cases.small)
        _write_plots(staged, recipe, job.run, held_out.y, cases.whole)
        write_documents(staged, recipe.name, values)
        config = model_config(
            recipe.name,
            values["graph"],
            labels=labels(recipe),
            parameters=values["parameters"],
            states=job.states,
        )
        published = publish.publish(
            repository, staged, config, labels(recipe), job.key, values["variants"]
        )
    return Exported(
        name=recipe.name,
        version=published.version,
        fresh=True,
        created=published.created,
        config_kept=published.config_kept,
        seconds=time.monotonic() - started,
        manifest=values,
    )


def _variants(made: Conversion) -> list[Variant]:
    """Return the ONNX files of the version, the model itself first."""
    from zoo.convert.conversion import facts, serialized

    variants = [
        Variant(
            file=layout.MODEL_FILE,
            title="the model",
            content=serialized(made.onnx),
            graph=facts(made.onnx),
        )
    ]
    title = PORTABLE_TITLE
    if made.portable is not None:
        content, graph = serialized(made.portable), facts(made.portable)
        variants.append(Variant(file=PORTABLE_FILE, title=title, content=content, graph=graph))
    elif made.no_portable:
        variants.append(Variant(file=PORTABLE_FILE, title=title, reason=made.no_portable))
    return variants


def _smaller(
    recipe: Recipe, run: RunFolder, held_out: Rows, made: Conversion, options: Options
) -> list[Variant]:
    """Return the quantised variants asked for, published or not, as measured on the recipe's data."""
    if options.quantize == NONE:
        return []
    from zoo.quantize.evidence import of_recipe
    from zoo.quantize.variants import smaller_variants

    train = recipe.dataset.load(run.chosen_data(None).path).train
    evidence = of_recipe(recipe, train, held_out)
    return smaller_variants(made.onnx, evidence, asked=options.quantize, max_loss=options.max_loss)


def _write_variants(
    staged: Path, recipe: Recipe, variants: list[Variant], cases: ParityCases, held_out: Rows
) -> dict[str, Proof]:
    """Write each file and hold it against Keras; raises CheckFailed where one differs."""
    proven = {}
    for variant in variants:
        if variant.content is None:
            continue
        path = staged / variant.file
        path.write_bytes(variant.content)
        if not variant.exact:
            continue
        found = check(
            path,
            recipe.name,
            cases.of(variant.graph["operators"]),
            argmax=recipe.task == "multiclass",
            tolerance=variant.tolerance,
            keep=cases.whole,
        )
        if not found.report.ok:
            raise CheckFailed(_disagreement(variant, found.report))
        metric = held_out_metric(recipe, held_out, cases.whole, found.answers)
        if not metric["ok"]:
            raise CheckFailed(
                f"not published: {variant.file}: {metric['metric']} on {metric['rows']} held-out rows "
                f"is {metric['runtimes']}, and Keras's is {metric['keras']}"
            )
        proven[variant.file] = Proof(
            versions=found.versions, parity=found.report.to_json(), held_out=metric
        )
    return proven


def _trained_model(recipe: Recipe, run: RunFolder) -> Any:
    """Build the recipe's model with the weights of a finished run."""
    from zoo.training.framework import import_keras

    # Forgets the names handed out so far. Collecting garbage with it would take as long as
    # building the model; and there is nothing to seed, since every weight is loaded.
    import_keras().keras.backend.clear_session(free_memory=False)
    model = recipe.build()
    model.load_weights(run.weights)
    return model


def labels(recipe: Recipe) -> tuple[str, ...]:
    """Return one label for each element of the output: a sigmoid's one is the second class."""
    return recipe.classes[1:] if recipe.task == "binary" else recipe.classes


def _disagreement(variant: Variant, report: Report) -> str:
    """Say where a graph differs most from Keras."""
    worst = report.worst
    failed = sum(row.failed for row in report.comparisons)
    return (
        f"not published: {variant.file}: {worst.runtime} and Keras disagree on {worst.output or 'the graph'} "
        f"({worst.case}): {worst.reason}; {failed} of {len(report.comparisons)} comparisons failed"
    )


def _write_plots(
    staged: Path, recipe: Recipe, run: RunFolder, truth: np.ndarray, whole: Case
) -> None:
    """Draw how training went, and the model's answers on the held-out rows."""
    given = whole.expected[recipe.output_name]
    drawn = plots.held_out(recipe.task, truth, given, classes=recipe.classes, units=recipe.units)
    (staged / "history.png").write_bytes(plots.history(run.history()))
    (staged / "held_out.png").write_bytes(drawn)
