"""From recipes to a repository: train what is out of date, export, prove, publish.

    train    recipe -> build/runs/<model>/          zoo/train.py
    export   run -> model.onnx -> parity -> models/<model>/<version>/
    check    what is published, or any ONNX file with test vectors, against Keras's answers

Keys are hashes of files, so that deciding that there is nothing to do imports no framework.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from server.repository import layout
from zoo import plots, publish, runtimes
from zoo.architecture import Layer
from zoo.card import card
from zoo.configuration import model_config
from zoo.datasets.dataset import Rows
from zoo.errors import CheckFailed, UsageError
from zoo.picture import draw
from zoo.recipe import Recipe
from zoo.runs import Record, RunFolder
from zoo.vectors import read_vectors, write_vectors
from zoo.verify import Case, Report, Session, Tolerance, verify

if TYPE_CHECKING:
    from zoo.registry import Registry

PARITY_BATCHES = (1, 7)

#: Sources whose change may change what is published, as patterns below zoo/: everything but the
#: command line and client.
EXPORT_SOURCES = (
    "architecture.py",
    "card.py",
    "configuration.py",
    "export.py",
    "graph/*.py",
    "picture.py",
    "pipeline.py",
    "plots.py",
    "recurrent/*.py",
    "tracing/*.py",
    "vectors.py",
    "verify.py",
)
EXPORT_PACKAGES = ("keras", "numpy", "onnx", "tf2onnx")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The verification of one file: the versions of the runtimes used, and those not installed."""

    name: str
    report: Report
    versions: Mapping[str, str]
    skipped: tuple[str, ...]


def export_key(recipe: Recipe, run: RunFolder) -> str:
    """Return what a publication of this run depends on, as one hash; imports no framework."""
    assert run.record is not None
    folder = Path(__file__).parent
    parts = [
        run.record.key,
        run.record.weights_sha256,
        *(
            publish.sha256(path)
            for source in EXPORT_SOURCES
            for path in sorted(folder.glob(source))
        ),
        *(metadata.version(package) for package in EXPORT_PACKAGES),
    ]
    return hashlib.sha256(json.dumps([recipe.name, *parts]).encode()).hexdigest()


def current_export(recipe: Recipe, run: RunFolder, repository: Path) -> Exported | None:
    """Return the publication of this run if it is whole and up to date."""
    found = publish.published_key(repository, recipe.name)
    if found is None or found[0] != export_key(recipe, run):
        return None
    manifest = publish.read_manifest(repository, recipe.name, found[1])
    assert manifest is not None
    return Exported(
        name=recipe.name,
        version=found[1],
        fresh=False,
        created=False,
        config_kept=False,
        seconds=0.0,
        manifest=manifest.values,
    )


def export(recipe: Recipe, run: RunFolder, repository: Path) -> Exported:
    """Convert a finished run, prove it equal to Keras, and publish it.

    Raises CheckFailed, with nothing published, if the graph is invalid or its answers differ.
    """
    from zoo.export import convert, facts, serialized

    started = time.monotonic()
    record = run.record
    assert record is not None
    model = _trained_model(recipe, run)
    onnx_model = convert(model, input_names=recipe.inputs, output_names=recipe.outputs).onnx
    cases = parity_cases(recipe, model, run.held_out())
    with publish.staging(repository, recipe.name) as staged:
        path = staged / layout.MODEL_FILE
        path.write_bytes(serialized(onnx_model))
        checked = check(path, recipe.name, cases, argmax=recipe.task == "multiclass")
        if not checked.report.ok:
            raise CheckFailed(_disagreement(checked.report))
        manifest = _manifest(recipe, record, facts(onnx_model), checked)
        write_vectors(staged, cases)
        _write_plots(staged, recipe, run, model)
        _write_documents(staged, recipe.name, manifest)
        config = model_config(
            recipe.name,
            manifest["graph"],
            labels=labels(recipe),
            parameters=manifest["parameters"],
        )
        key = export_key(recipe, run)
        published = publish.publish(repository, staged, config, labels(recipe), key)
    return Exported(
        name=recipe.name,
        version=published.version,
        fresh=True,
        created=published.created,
        config_kept=published.config_kept,
        seconds=time.monotonic() - started,
        manifest=manifest,
    )


def _trained_model(recipe: Recipe, run: RunFolder) -> Any:
    """Build the recipe's model with the weights of a finished run."""
    from zoo.framework import seed_everything

    seed_everything(recipe.seed)
    model = recipe.build()
    model.load_weights(run.weights)
    return model


def labels(recipe: Recipe) -> tuple[str, ...]:
    """Return one label for each element of the output: a sigmoid's one is the second class."""
    return recipe.classes[1:] if recipe.task == "binary" else recipe.classes


def parity_cases(recipe: Recipe, model: Any, held_out: Rows) -> tuple[Case, ...]:
    """Return real held-out rows and random rows of the same scale, in batches of 1 and 7.

    An open dimension, such as a length of time, takes another size in the random rows.
    """
    from zoo.fit import call

    random = np.random.default_rng(recipe.seed)
    cases = []
    for batch in PARITY_BATCHES:
        rows = len(held_out)
        chosen = np.sort(random.choice(rows, size=batch, replace=rows < batch))
        real = [x[chosen] for x in held_out.inputs]
        drawn = [
            _drawn(random, x, tensor.shape[1:], batch)
            for x, tensor in zip(held_out.inputs, model.inputs, strict=True)
        ]
        for kind, arrays in (("held-out", real), ("random", drawn)):
            answers = call(model, arrays, training=False)
            cases.append(
                Case(
                    name=f"{kind} rows, batch {batch}",
                    feeds=dict(zip(recipe.inputs, arrays, strict=True)),
                    expected=dict(zip(recipe.outputs, map(np.asarray, answers), strict=True)),
                )
            )
    return tuple(cases)


def _drawn(
    random: np.random.Generator, held_out: np.ndarray, shape: tuple[int | None, ...], batch: int
) -> np.ndarray:
    """Draw rows of the held-out rows' own mean, spread and range."""
    if None in shape:
        # One more than the data has, so that a size frozen while tracing is noticed.
        size = [
            n + 1 if wanted is None else n
            for n, wanted in zip(held_out.shape[1:], shape, strict=True)
        ]
        mean, spread, low, high = (f(held_out) for f in (np.mean, np.std, np.min, np.max))
    else:
        size = list(held_out.shape[1:])
        mean, spread, low, high = (f(held_out, axis=0) for f in (np.mean, np.std, np.min, np.max))
    rows = random.normal(mean, spread, size=(batch, *size)).clip(low, high)
    return np.ascontiguousarray(rows.astype(held_out.dtype))


def check(path: Path, name: str, cases: tuple[Case, ...], *, argmax: bool) -> Checked:
    """Run the cases through every installed runtime; one that cannot load the file fails."""
    sessions: dict[str, Session] = {}
    versions: dict[str, str] = {}
    skipped = []
    for runtime in runtimes.available():
        version = runtime.version()
        if version is None:
            skipped.append(runtime.name)
            continue
        versions[runtime.name] = version
        try:
            sessions[runtime.name] = runtime.load(path)
        except Exception as error:  # a foreign runtime may raise anything; it is its verdict
            sessions[runtime.name] = _failing(error)
    if not sessions:
        raise UsageError(
            f"no runtime is installed: {', '.join(skipped)}; pip install 'layer-zoo[cpu]'"
        )
    report = verify(cases, sessions, argmax=argmax)
    return Checked(name=name, report=report, versions=versions, skipped=tuple(skipped))


def check_published(repository: Path, name: str, known: Registry) -> Checked:
    """Verify the latest published version of a model: checksums, then parity on its vectors."""
    manifest = publish.read_manifest(repository, name)
    if manifest is None:
        if name in known.owners:
            raise UsageError(f"{name} is not published in {repository}: run `zoo export {name}`")
        known.get(name)  # raises with near matches
        raise AssertionError(name)
    if not publish.intact(manifest):
        raise CheckFailed(f"a file of {manifest.folder} is missing or is not what was published")
    argmax = manifest.values["task"] == "multiclass"
    return _check_vectors(manifest.folder / layout.MODEL_FILE, name, argmax=argmax)


def check_file(path: Path) -> Checked:
    """Verify any ONNX file that has test vectors beside it."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    return _check_vectors(path, str(path), argmax=False)


def published_models(repository: Path) -> list[str]:
    """Return the names of the models that were published here, in order."""
    if not repository.is_dir():
        return []
    names = sorted(
        p.name for p in repository.iterdir() if p.is_dir() and not layout.is_hidden(p.name)
    )
    return [name for name in names if publish.read_manifest(repository, name)]


def _check_vectors(path: Path, name: str, *, argmax: bool) -> Checked:
    cases = read_vectors(path)
    if not cases:
        raise UsageError(f"{path} has no test vectors beside it (test_data_set_0/input_0.pb ...)")
    return check(path, name, cases, argmax=argmax)


def _failing(error: Exception) -> Session:
    """Return a session that reports why the file could not be loaded."""

    def run(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        raise error

    return run


def _disagreement(report: Report) -> str:
    """Say where a graph differs most from Keras."""
    worst = report.worst
    failed = sum(not row.ok for row in report.comparisons)
    return (
        f"not published: {worst.runtime} and Keras disagree on {worst.output or 'the graph'} "
        f"({worst.case}): {worst.reason}; {failed} of {len(report.comparisons)} comparisons failed"
    )


def _manifest(
    recipe: Recipe, record: Record, graph: Mapping[str, Any], checked: Checked
) -> dict[str, Any]:
    """Return what the version folder says of itself; the files' checksums are added last."""
    tolerance = Tolerance()
    return {
        "format": 1,
        "name": recipe.name,
        "summary": recipe.summary,
        "tutorial": recipe.tutorial,
        "recipe": recipe.source,
        "task": recipe.task,
        "parameters": _parameters(recipe),
        "data": dict(record.dataset),
        "training": {
            "recipe": dict(record.recipe),
            "epochs": record.epochs_run,
            "best_epoch": record.best_epoch,
            "metric": dict(record.metric),
            "baseline": dict(record.baseline),
            "claim": dict(record.claim),
            "parameters": record.trainable,
            "total_parameters": record.total,
            "seconds": record.seconds,
            "weights_sha256": record.weights_sha256,
        },
        "layers": record.layers,
        "graph": dict(graph),
        "tolerance": {"scaled": tolerance.scaled, "relative": tolerance.relative},
        "runtimes": dict(checked.versions),
        "parity": checked.report.to_json(),
        "versions": {name: metadata.version(name) for name in EXPORT_PACKAGES}
        | dict(record.versions),
    }


def _parameters(recipe: Recipe) -> dict[str, str]:
    """Return what a client needs to know to ask the model and to read its answer."""
    values = {
        "task": recipe.task,
        "description": recipe.summary,
        "classes": ",".join(recipe.classes),
        "units": recipe.units,
        "features": ",".join(recipe.dataset.features),
    }
    if recipe.image is not None:
        image = recipe.image
        values |= {"image_mode": image.mode, "image_range": f"{image.low:g} {image.high:g}"}
    return {key: value for key, value in values.items() if value}


def _write_plots(staged: Path, recipe: Recipe, run: RunFolder, model: Any) -> None:
    """Draw how training went, and the model's answers on the held-out rows."""
    from zoo.fit import predict

    rows = run.held_out()
    given = predict(model, rows)[0]
    drawn = plots.held_out(recipe.task, rows.y, given, classes=recipe.classes, units=recipe.units)
    (staged / "history.png").write_bytes(plots.history(run.history()))
    (staged / "held_out.png").write_bytes(drawn)


def _write_documents(staged: Path, name: str, manifest: dict[str, Any]) -> None:
    """Write picture and card, then the manifest with the checksum of every other file."""
    layers = [Layer.from_json(values) for values in manifest["layers"]]
    (staged / "model.svg").write_text(draw(name, layers))
    (staged / "README.md").write_text(card(manifest))
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    manifest["files"] = {
        path.relative_to(staged).as_posix(): {
            "sha256": publish.sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in files
    }
    (staged / layout.MANIFEST_FILE).write_text(json.dumps(manifest, indent=2) + "\n")
