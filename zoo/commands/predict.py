"""zoo predict: ask a published model, here or on a server."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.commands import add_json, add_published_model, print_json, require_export
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.models.interface import Array
    from zoo.models.model import Model
    from zoo.models.predictions import Prediction

SUMMARY = "ask a published model, here or on a running server, and print the answer"
EXAMPLE = (
    "zoo predict dense_iris 5.1,3.5,1.4,0.2\n"
    "  zoo predict cnn_digits10 three.png --show\n"
    "  zoo predict cnn_digit_pair left.png right.png --server 127.0.0.1:8001"
)

#: More classes than this, and only the likeliest are printed.
SHOWN_CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_published_model(parser)
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help="one for each input of the model: numbers, JSON, a .npy, .json, .csv or image file, or "
        "- for standard input; or one JSON object by the inputs' names. The rows of a model with a "
        "state are the steps of one sequence",
    )
    parser.add_argument(
        "--show", action="store_true", help="draw what the model sees of an image before the answer"
    )
    parser.add_argument(
        "--model-version", type=int, metavar="N", help="version (default: the latest)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long a server may take (default: %(default)g)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read INPUT as the model wants it, ask, print the answer."""
    with _load(options) as model:
        feeds = model.preprocess(*options.input)
        outputs = model.run(feeds)
        answers = model.postprocess(outputs, feeds)
    if options.json:
        print_json(to_json(model, outputs, answers))
        return 0
    if options.show:
        show_images(model, feeds)
    print_answers(answers)
    return 0


def _load(options: argparse.Namespace) -> Model:
    from zoo.models.model import load

    require_export(options)
    if options.server is None:
        return load(options.model, version=options.model_version, repository=options.repository)
    from zoo.client import Client

    try:
        # A person waits: no retries, so that a failure is reported at once.
        client = Client(options.server, timeout=options.timeout, retries=0)
    except ValueError as error:
        raise UsageError(f"--server {options.server}: {error}") from error
    return load(options.model, version=options.model_version, server=client)


def to_json(
    model: Model, outputs: dict[str, Array], answers: Sequence[Prediction]
) -> dict[str, object]:
    """Return outputs and answers as JSON-able values."""
    return {
        "model": model.name,
        "version": model.version,
        "outputs": {name: array.tolist() for name, array in outputs.items()},
        "predictions": [answer.to_json() for answer in answers],
    }


def show_images(model: Model, feeds: dict[str, Array]) -> None:
    """Draw each image as the model gets it."""
    from zoo.terminal.picture import draw

    images = [spec for spec in model.inputs if spec.image is not None]
    if not images:
        raise UsageError(f"--show: {model.name} takes no image")
    for spec in images:
        assert spec.image is not None
        for row in feeds[spec.name]:
            print(f"{spec.name}: {spec.image.sentence}")
            print(draw(row, spec.image))


def print_answers(rows: Sequence[Prediction]) -> None:
    """Print all classes for a single row, one line a row for several."""
    from zoo.models.predictions import plain
    from zoo.terminal.tables import print_table

    first = rows[0]
    if len(rows) == 1 and first.note:
        print(first.note)
    elif len(rows) == 1 and first.label is not None:
        pairs = list(first.probabilities.items())[:SHOWN_CLASSES]
        print_table(("label", "probability"), [[k, f"{v:.4f}"] for k, v in pairs], right="lr")
    elif any(row.label is not None for row in rows):
        cells = [
            [
                str(i),
                row.note or row.label or "",
                f"{max(row.probabilities.values(), default=0):.4f}",
            ]
            for i, row in enumerate(rows)
        ]
        print_table(("row", "label", "probability"), cells, right="rlr")
    else:
        title = f"{first.output} ({first.units})".replace(" ()", "")
        _print_values(title, [row.note or plain(row.values) for row in rows])
    for name in first.others:
        print()
        _print_values(name, [plain(row.others[name]) if row.others else "" for row in rows])


def _print_values(title: str, values: Sequence[Sequence[object] | str]) -> None:
    from zoo.terminal.tables import print_table

    cells = [
        [str(i), row if isinstance(row, str) else " ".join(map(_number, row))]
        for i, row in enumerate(values)
    ]
    print_table(("row", title), cells, right="rl")


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
