"""zoo export: train what is missing, convert to ONNX, prove it equal to Keras, publish.

Recipes by name, or any model file (.keras, .h5, a SavedModel): that one is loaded in a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.commands import (
    RECIPES,
    add_json,
    add_models,
    add_repository,
    add_runs,
    chosen_recipes,
    print_json,
    require_training,
)
from zoo.commands.exported import exported_json, print_exported, print_smaller
from zoo.commands.train import print_trained, report_failures
from zoo.commands.trainings import train_all, trained_recipes
from zoo.convert.opsets import IR_VERSIONS, OPSET
from zoo.errors import StorageError, UsageError, ZooError
from zoo.export.file_formats import is_model_file, loadable_format
from zoo.export.from_file import FileExport, export_in_own_process
from zoo.export.options import ExportOptions
from zoo.export.to_store import ExportPlace, export_place
from zoo.quantize.decision import CHOICES, MAX_PERCENT, MAX_POINTS, NONE, check_requested
from zoo.recipes.registry import check_file
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress

if TYPE_CHECKING:
    from zoo.export.from_recipe import Exported
    from zoo.recipes.recipe import Recipe

SUMMARY = "export models to ONNX and publish them, once proven equal to Keras"
EXAMPLE = (
    "zoo export cnn_digits --repository models\n"
    "  zoo export cnn_digits --repository s3://bucket/models\n"
    "  zoo export cnn_digits10 --quantize auto\n"
    "  zoo export mine.keras --samples rows.npz --quantize int8 --max-loss 1"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_models(
        parser,
        "models to export (default: every registered model), trained first if necessary; "
        "or one FILE.keras, FILE.h5 or SavedModel folder of your own",
        f"{RECIPES}, or the layers and models that FILE.keras needs",
    )
    add_repository(parser, or_url=True)
    add_runs(parser)
    add_json(parser)
    parser.add_argument(
        "--opset",
        type=int,
        default=OPSET,
        help=f"ONNX operator set, {min(IR_VERSIONS)} to {max(IR_VERSIONS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="write the weights into a file beside the model, NAME.onnx.data; done for every model of more "
        "than 2 GB",
    )
    _add_quantize(parser)
    _add_file_options(parser)


def _add_quantize(parser: argparse.ArgumentParser) -> None:
    """Add the options of smaller variants."""
    smaller = parser.add_argument_group(
        "smaller variants beside the model",
        "model.int8.onnx and others, published if metric and file size allow: int8 (weights and "
        "activations), fp16, w8 and w4 (the matrices of large dense layers in 8 or 4 bits)",
    )
    smaller.add_argument(
        "--quantize",
        choices=CHOICES,
        default=NONE,
        help="auto publishes each variant that is smaller and within --max-loss, and reports why others "
        "are not; a named variant that loses too much ends with exit status 1 (default: "
        "%(default)s); a FILE.keras needs --samples, half of which calibrate the ranges",
    )
    smaller.add_argument(
        "--max-loss",
        type=float,
        metavar="LOSS",
        help=f"largest loss of a variant: points of an accuracy (default: {MAX_POINTS:g}), percent of "
        f"an error (default: {MAX_PERCENT:g})",
    )


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that only a FILE.keras takes."""
    own = parser.add_argument_group("for a FILE.keras")
    own.add_argument(
        "-o", "--output", type=Path, metavar="OUT.onnx", help="write this file and publish nothing"
    )
    own.add_argument("--name", help="publish under this name (default: the file's stem)")
    own.add_argument(
        "--samples",
        type=Path,
        metavar="F.npz",
        help="rows to compare on, by input name (default: seeded random rows)",
    )
    own.add_argument(
        "--portable",
        action="store_true",
        help="also write the variant without recurrent operators (recipes always have it)",
    )
    own.add_argument(
        "--reset-states",
        action="store_true",
        help="export stateful layers with their initial state",
    )
    own.add_argument(
        "--states",
        metavar="inputs|IN=OUT,...",
        default="",
        help="export one step of a sequence: `inputs` makes the states of stateful layers inputs and outputs; "
        "IN=OUT says which output of the model is the next step's input (cache=next_cache)",
    )
    own.add_argument(
        "--trust",
        action="store_true",
        help="run code in the file (Lambda layers, .h5, a SavedModel)",
    )


def run(options: argparse.Namespace) -> int:
    """Train, export and print the final table; exit 1 if a model could not be published."""
    chosen = ExportOptions(
        opset=options.opset,
        portable=options.portable,
        reset_states=options.reset_states,
        states=options.states,
        quantize=options.quantize,
        max_loss=options.max_loss,
        external_data=options.external_data,
    )
    if any(is_model_file(name) for name in options.models):
        return _run_file(options, chosen)
    _refuse_file_options(options)
    recipes = chosen_recipes(options)
    with (
        export_place(options.repository, [recipe.name for recipe in recipes]) as place,
        CommandProgress(len(trained_recipes(recipes)) + len(recipes), "steps") as overall,
    ):
        options.repository = place.folder
        records, failures, fresh = train_all(recipes, options.runs, overall)
        trained = {record.name for record in records}
        ready = [recipe for recipe in recipes if recipe.trained_as.name in trained]
        exported, refused = export_all(ready, options, chosen, overall)
        refused |= _push(place, [item.name for item in exported])
    if fresh and not options.json:
        print_trained(records, fresh)
        print()
    if options.json:
        print_json([exported_json(item) for item in exported])
    else:
        print_exported(exported)
    return report_failures(failures | refused)


def _run_file(options: argparse.Namespace, chosen: ExportOptions) -> int:
    """Export one file and say what came of it."""
    if len(options.models) != 1:
        raise UsageError("give one FILE.keras at a time, and no recipe beside it")
    (source,) = options.models
    require_training("exporting a Keras file")
    loadable_format(Path(source), trust=options.trust)  # refused before a process starts TensorFlow
    for path in options.modules:
        check_file(path)
    check_requested(options.quantize, with_rows=options.samples is not None)
    name = options.name or Path(source).stem
    with export_place(options.repository, [] if options.output else [name]) as place:
        report = export_in_own_process(
            FileExport(
                source=source,
                options=chosen,
                output=str(options.output) if options.output else None,
                repository=str(place.folder),
                name=name,
                samples=str(options.samples) if options.samples else None,
                trust=options.trust,
                modules=tuple(str(path) for path in options.modules),
            )
        )
        failures = {} if options.output else _push(place, [name])
    if failures:
        raise failures[name]
    if place.target is not None:
        report["path"] = report["path"].replace(str(place.folder), place.target.shown)
    if options.json:
        print_json(report)
    else:
        _print_file_report(report, Path(source).stem)
    return 0


def _print_file_report(report: Mapping[str, Any], model: str) -> None:
    print(
        f"{report['path']}: {report['nodes']} nodes, {report['bytes']} bytes, opset "
        f"{report['opset']}, largest Δ to Keras {report['max_abs']:.1e}, "
        f"{report['seconds']:.1f} s"
    )
    for side in ("inputs", "outputs"):
        for tensor in report[side]:
            print(f"  {side[:-1]} {tensor['name']} {tensor['datatype']} {tensor['shape']}")
    for note in report["notes"]:
        print(f"  {note}")
    print_smaller([(model, report["smaller"])])


def _push(place: ExportPlace, names: Sequence[str]) -> dict[str, ZooError]:
    """Publish what was exported for a store; return what failed by name."""
    pushed, failures = place.push(names)
    for item in pushed:
        assert place.target is not None
        verb = "published as" if item.created else "up to date, it is"
        say(f"{item.name}: {verb} version {item.version} in {place.target.shown}")
        if item.config_kept:
            say(f"{item.name}: config.pbtxt there was edited by hand, and is kept")
    return failures


def _refuse_file_options(options: argparse.Namespace) -> None:
    """Say so, rather than ignore what only means something with a file."""
    values = {
        "-o": options.output,
        "--name": options.name,
        "--samples": options.samples,
        "--trust": options.trust,
        "--reset-states": options.reset_states,
        "--states": options.states,
        "--portable": options.portable,
    }
    wrong = [name for name, value in values.items() if value]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: only for a FILE.keras, not for recipes")


def export_all(
    recipes: Sequence[Recipe],
    options: argparse.Namespace,
    chosen: ExportOptions,
    overall: CommandProgress,
) -> tuple[list[Exported], dict[str, ZooError]]:
    """Export what is out of date; one model's failure does not keep the others back."""
    from zoo.export.from_recipe import current_export, export_recipe
    from zoo.training.runs import RunFolder

    done: list[Exported] = []
    failures: dict[str, ZooError] = {}
    for recipe in recipes:
        run = RunFolder.of(options.runs, recipe)
        overall.begin(recipe.name, "exporting and comparing with Keras")
        try:
            current = current_export(recipe, run, options.repository, chosen)
            done.append(current or export_recipe(recipe, run, options.repository, chosen))
        except ZooError as error:
            failures[recipe.name] = error
        except OSError as error:
            failures[recipe.name] = StorageError(
                f"{error.filename or options.repository}: {error.strerror or error}: "
                "nothing that was published before is lost"
            )
        overall.end()
    for item in done:
        if item.config_kept:
            say(f"{item.name}: config.pbtxt was edited by hand, and is kept")
    return done, failures
