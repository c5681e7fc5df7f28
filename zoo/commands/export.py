"""zoo export: train what is missing, convert to ONNX, prove it equal to Keras, publish."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, add_models, add_repository, add_runs, print_json, registry
from zoo.commands.train import print_table as print_training
from zoo.commands.train import report, train_all
from zoo.errors import StorageError, ZooError

if TYPE_CHECKING:
    from zoo.pipeline import Exported

SUMMARY = "export models to ONNX and publish them, once proven equal to Keras"
EXAMPLE = "zoo export cnn_digits --repository models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_models(parser, "default: every registered model; what is not trained is trained first")
    add_repository(parser)
    add_runs(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Train, export and print the final table; exit 1 if a model could not be published."""
    known = registry(options)
    names = list(dict.fromkeys(options.models or known.names()))
    recipes = [known.get(name) for name in names]
    records, failures, fresh = train_all(recipes, options.runs)
    if fresh and not options.json:
        print_training(records, fresh)
        print(flush=True)
    trained = {record.name for record in records}
    exported, refused = _export_all([r for r in recipes if r.name in trained], options)
    if options.json:
        print_json([_json(item) for item in exported])
    else:
        _print(exported)
    return report(failures | refused)


def _export_all(
    recipes: Sequence[Any], options: argparse.Namespace
) -> tuple[list[Exported], dict[str, ZooError]]:
    """Export what is out of date; one model's failure does not keep the others back."""
    from zoo.pipeline import current_export, export
    from zoo.runs import RunFolder

    done: list[Exported] = []
    failures: dict[str, ZooError] = {}
    for recipe in recipes:
        run = RunFolder(options.runs, recipe.name)
        try:
            current = current_export(recipe, run, options.repository)
            done.append(current or export(recipe, run, options.repository))
        except ZooError as error:
            failures[recipe.name] = error
        except OSError as error:
            failures[recipe.name] = StorageError(
                f"{error.filename or options.repository}: {error.strerror or error}: "
                "nothing that was published before is lost"
            )
    for item in done:
        if item.config_kept:
            sys.stderr.write(f"zoo: {item.name}: config.pbtxt was edited by hand, and is kept\n")
    return done, failures


def _json(item: Exported) -> dict[str, Any]:
    return {
        "model": item.name,
        "version": item.version,
        "exported_now": item.fresh,
        "new_version": item.created,
        "seconds": item.seconds,
        "graph": item.manifest["graph"],
        "parity": item.manifest["parity"],
        "files": item.manifest["files"],
    }


def _print(items: Sequence[Exported]) -> None:
    """Print what was published, how large, and how far from Keras."""
    from zoo.table import text_table

    rows = [
        [
            item.name,
            str(item.version),
            str(item.manifest["graph"]["nodes"]),
            str(item.manifest["files"]["model.onnx"]["bytes"]),
            f"{max(row['max_abs'] for row in item.manifest['parity']):.1e}",
            f"{item.seconds:.1f}" if item.fresh else "up to date",
        ]
        for item in items
    ]
    if rows:
        header = ("model", "version", "nodes", "bytes", "largest Δ to Keras", "seconds")
        print(text_table(header, rows, right="lrrrrr"))
