"""zoo run: ask a model; train and export it first where that was not done yet."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from zoo.commands import add_json, add_modules, add_repository, add_runs, print_json, registry
from zoo.commands.predict import print_answers, show_images, to_json
from zoo.errors import CheckFailed
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress

if TYPE_CHECKING:
    from zoo.models.interface import Array
    from zoo.models.model import Model

SUMMARY = "ask a model; it is trained and exported first where that is missing"
EXAMPLE = "zoo run dense_iris\n  zoo run cnn_digits10 three.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("model", metavar="MODEL", help="a model's name")
    parser.add_argument(
        "input",
        nargs="*",
        metavar="INPUT",
        help="as `zoo predict` takes it (default: a held-out row of the model's data)",
    )
    add_modules(parser)
    add_repository(parser)
    add_runs(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Publish the model if it is not, load it, and print its answer."""
    from zoo.models.model import load
    from zoo.publish.versions import model_names

    if options.model not in model_names(options.repository):
        _publish(options)
    with load(options.model, repository=options.repository) as model:
        if options.input:
            feeds = model.preprocess(*options.input)
        else:
            feeds = _held_out(model, options)
        outputs = model.run(feeds)
        answers = model.postprocess(outputs, feeds)
    if options.json:
        print_json(to_json(model, outputs, answers))
        return 0
    if not options.input:
        _print_row(model, feeds)
    print_answers(answers)
    return 0


def _publish(options: argparse.Namespace) -> None:
    """Train and export; raises what either does."""
    from zoo.commands.export import export_all
    from zoo.commands.trainings import train_all
    from zoo.export.options import ExportOptions
    from zoo.publish.versions import unknown_model

    known = registry(options)
    if options.model not in known.owners:
        raise unknown_model(options.repository, options.model, known)
    recipe = known.get(options.model)
    if not sys.stderr.isatty():
        say(f"{recipe.name} is not in {options.repository}: it is trained and exported")
    with CommandProgress(2, "steps") as overall:
        _, failures, _ = train_all([recipe], options.runs, overall)
        if not failures:
            _, failures = export_all([recipe], options, ExportOptions(), overall)
    for error in failures.values():
        raise error


def _held_out(model: Model, options: argparse.Namespace) -> dict[str, Array]:
    """Return the first row of the test vectors that were published with the model."""
    from zoo.models.find import model_file
    from zoo.parity.vectors import read_vectors

    # By the name that was asked for: a file from elsewhere may call itself otherwise.
    vectors = read_vectors(model_file(options.model, repository=options.repository))
    if not vectors:
        raise CheckFailed(f"{options.model} has no test vectors: give an INPUT")
    return {spec.name: vectors[0].feeds[spec.name][:1] for spec in model.inputs}


def _print_row(model: Model, feeds: dict[str, Array]) -> None:
    """Say what was asked: images are drawn, numbers printed."""
    from zoo.terminal.tables import print_text

    print("a held-out row of its data:")
    if all(spec.image is not None for spec in model.inputs):
        show_images(model, feeds)
        return
    for name, rows in feeds.items():
        print_text(f"{name}: {' '.join(f'{value:.4g}' for value in rows.reshape(-1).tolist())}")
    print()
