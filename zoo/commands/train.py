"""zoo train: train what is out of date, and check every recipe's claim."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, add_models, add_runs, chosen_recipes, print_json
from zoo.commands.trainings import LOCAL, spread, train_all, trial_of
from zoo.errors import UsageError, ZooError
from zoo.recipes.trial_settings import parsed_settings
from zoo.terminal.messages import say
from zoo.terminal.progress import CommandProgress

if TYPE_CHECKING:
    from zoo.training.record import TrainingRecord
    from zoo.training.workers import Cluster

SUMMARY = "train models on their data; skip those that are up to date"
EXAMPLE = (
    "zoo train dense_iris cnn_digits\n"
    "  zoo train cnn_digits --seeds 5\n"
    "  zoo train dense_iris --set learning_rate=0.02\n"
    "  zoo train cnn_digits10 --workers 2"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_models(parser, "default: every registered model")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="train the one MODEL with another seed, learning_rate, batch_size, epochs, patience or argument "
        "of its function (repeatable); later runs use it too, until --set recipe",
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="train each model in N processes that share every batch; across machines, start `zoo train MODEL` "
        "on each with TF_CONFIG set instead",
    )
    _add_spread(parser)
    add_runs(parser)
    add_json(parser)


def _add_spread(parser: argparse.ArgumentParser) -> None:
    """Add the options of several trainings at once."""
    spread = parser.add_argument_group(
        "several trainings at once",
        "each in a process of its own; one that is finished is not run again, so that the same "
        "command goes on after a kill",
    )
    spread.add_argument(
        "--on",
        type=_place_name,
        metavar="local|ray://HOST:PORT",
        help="where: `local`, in processes of this machine, a single training too; or a Ray cluster, by its "
        "client port, where Ray Tune runs the --trials and stops the worse ones early (ASHA)",
    )
    spread.add_argument(
        "--seeds",
        type=_several,
        metavar="N",
        help="train N - 1 further seeds; mean and deviation of the metric go into record and card",
    )
    spread.add_argument(
        "--trials",
        type=_several,
        metavar="N",
        help="try N settings of the recipe's search space, its own values first, and train with those of the "
        "lowest validation loss; later runs keep them, until --set recipe",
    )
    spread.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="trainings at once (default: as many as the machine, or the cluster, has CPUs for)",
    )


def _place_name(text: str) -> str:
    if text != LOCAL and not text.startswith("ray://"):
        raise argparse.ArgumentTypeError(f"{text!r}: write local, or ray://HOST:PORT")
    return text


def _positive(text: str) -> int:
    return _at_least(1, text)


def _several(text: str) -> int:
    from zoo.training.seeds import FEWEST

    return _at_least(FEWEST, text)


def _at_least(fewest: int, text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < fewest:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number, {fewest} or more")
    return number


def run(options: argparse.Namespace) -> int:
    """Train and print the final table; exit 1 if a model missed its claim or failed."""
    if options.settings and len(set(options.models)) != 1:
        raise UsageError("--set is for one model: name it")
    settings = parsed_settings(options.settings)
    recipes = chosen_recipes(options)
    cluster = _cluster()
    several = options.on or options.seeds or options.trials or options.jobs
    _refuse_mixed(options, cluster, bool(several))
    if several:
        records, failures, fresh = spread(recipes, options, settings)
    else:
        count = options.workers
        with CommandProgress(len(recipes)) as overall:
            records, failures, fresh = train_all(
                recipes,
                options.runs,
                overall,
                settings=settings,
                workers=(trial_of(options, settings), count) if count else None,
                cluster=cluster,
            )
    if options.json:
        print_json([_json(record, record.name in fresh) for record in records])
    else:
        print_trained(records, fresh)
    return report_failures(failures)


def _cluster() -> Cluster | None:
    from zoo.training.workers import Cluster

    return Cluster.from_environment()


def _refuse_mixed(options: argparse.Namespace, cluster: Cluster | None, several: bool) -> None:
    """Say so where one training is to be shared and several are to run at once, or both say by whom."""
    if options.workers and several:
        raise UsageError(
            "--workers shares one training, --seeds, --trials, --on and --jobs run several: give the one or the other"
        )
    if cluster is None:
        return
    if options.workers or several:
        raise UsageError(
            f"TF_CONFIG is set and makes this process worker {cluster.index} of {len(cluster)}: leave out "
            "--workers, --seeds, --trials, --on and --jobs, or unset it"
        )
    if len(set(options.models)) != 1:
        raise UsageError("TF_CONFIG is set: its workers train one model: name it")


def report_failures(failures: dict[str, ZooError]) -> int:
    """Print each failure as one line; return the exit status they make."""
    for name, error in failures.items():
        say(f"{name}: {error}", failed=True)
    return max((error.exit_status for error in failures.values()), default=0)


def _json(record: TrainingRecord, fresh: bool) -> dict[str, Any]:
    return {
        "model": record.name,
        "trained_now": fresh,
        "metric": record.metric,
        "baseline": record.baseline,
        "linear": record.linear,
        "claim": record.claim,
        "settings": record.settings,
        "search": record.search,
        "seeds": record.seeds,
        "workers": record.workers,
        "parameters": record.trainable,
        "epochs": record.epochs_run,
        "seconds": record.seconds,
        "warnings": record.warnings,
    }


def print_trained(records: Sequence[TrainingRecord], fresh: set[str]) -> None:
    """Print what each training reached, and on whose data."""
    from zoo.terminal.tables import print_table
    from zoo.training.seeds import over_seeds_text

    several = any(record.seeds for record in records)
    rows = [
        [
            record.name,
            f"{record.metric['name']} {record.metric['value']:.4g}",
            *([over_seeds_text(record.seeds)] if several else []),
            f"{record.baseline['value']:.4g}",
            f"{record.linear['value']:.4g}",
            str(record.trainable),
            str(record.epochs_run),
            f"{record.seconds:.1f}" if record.name in fresh else "up to date",
        ]
        for record in records
    ]
    if rows:
        header = (
            "model",
            "on held-out rows",
            *(["over seeds"] if several else []),
            "baseline",
            "linear",
            "parameters",
            "epochs",
            "seconds",
        )
        print_table(
            header,
            rows,
            right="lllrrrrr" if several else "llrrrrr",
            dropped=("parameters", "epochs", "linear", "baseline"),
        )
    for record in records:
        for warning in record.warnings if record.name in fresh else ():
            say(f"{record.name}: warning: {warning}")
