"""zoo predict: send one request to a running server."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.commands import add_json, print_json
from zoo.errors import CheckFailed, UsageError, ZooError

if TYPE_CHECKING:
    import numpy as np

    from zoo.client import Answer, Client, ClientError

SUMMARY = "send one request to a running server and print the answer"
EXAMPLE = "zoo predict dense_iris 5.1,3.5,1.4,0.2"

#: More classes than this, and only the likeliest are printed.
SHOWN_CLASSES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("model", metavar="MODEL", help="the model's name on the server")
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="numbers, JSON, a .npy, .json, .csv or image file, or - for standard input; "
        "write -- before numbers that start with a minus sign",
    )
    parser.add_argument(
        "--model-version", default="", metavar="N", help="version (default: the latest)"
    )
    parser.add_argument("--invert", action="store_true", help="invert an image's brightness")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the server's address (default: %(default)s)"
    )
    parser.add_argument(
        "--grpc-port", type=int, default=8001, help="its gRPC port (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Read INPUT as the model wants it, ask, print the answer."""
    from zoo.client import Client, ClientError
    from zoo.commands.predict_input import read_input, specs

    address = f"{options.host}:{options.grpc_port}"
    # A person waits: no retries, so that a failure is reported at once.
    with Client(address, timeout=options.timeout, retries=0) as client:
        try:
            config = client.config(options.model, options.model_version)
            feeds = read_input(options.input, specs(config), invert=options.invert)
            answer = client.infer_answer(options.model, feeds, version=options.model_version)
        except ClientError as error:
            raise _explained(error, client, options.model) from error
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    rows = predictions(answer, parameters)
    if options.json:
        outputs = {name: array.tolist() for name, array in answer.outputs.items()}
        print_json(
            {"model": answer.model, "version": answer.version, "outputs": outputs}
            | {"predictions": rows}
        )
    else:
        _print(rows)
    return 0


def _explained(error: ClientError, client: Client, model: str) -> ZooError:
    """Return the server's refusal, with near matches for a model it does not have."""
    from zoo.client import ClientError

    if error.status != "NOT_FOUND":
        kind = UsageError if error.status == "INVALID_ARGUMENT" else CheckFailed
        return kind(str(error))
    try:
        names = client.models()
    except ClientError:
        names = ()
    near = difflib.get_close_matches(model, names)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it serves {', '.join(names)}"
    return UsageError(f"{error}; {hint}")


def predictions(answer: Answer, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one record a row: the first output's labels with probabilities, or its values.

    Further outputs stand under `others`, by name.
    """
    (name, first), *more = answer.outputs.items()
    if any(array.dtype == object or array.ndim == 0 for array in answer.outputs.values()):
        return [{key: value.tolist()} for key, value in answer.outputs.items()]
    rows = _first(name, first, parameters)
    if more:
        for i, row in enumerate(rows):
            row["others"] = {key: array[i].reshape(-1).tolist() for key, array in more}
    return rows


def _first(name: str, array: np.ndarray, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Read the first output, which task and classes speak of."""
    classes = [name for name in parameters.get("classes", "").split(",") if name]
    units = parameters.get("units", "")
    if parameters.get("task") == "binary" and len(classes) == 2 and array.shape[1:] == (1,):
        return [_labelled(classes, [1.0 - p, p]) for p in array[:, 0].astype(float)]
    if classes and array.shape[1:] == (len(classes),):
        return [_labelled(classes, row.astype(float)) for row in array]
    return [{"output": name, "values": row.reshape(-1).tolist(), "units": units} for row in array]


def _labelled(classes: list[str], values: Any) -> dict[str, Any]:
    ranked = sorted(zip(classes, map(float, values), strict=True), key=lambda pair: -pair[1])
    return {"label": ranked[0][0], "probabilities": dict(ranked)}


def _print(rows: list[dict[str, Any]]) -> None:
    """Print all classes for a single row, one line a row for several."""
    from zoo.table import text_table

    if len(rows) == 1 and "label" in rows[0]:
        pairs = list(rows[0]["probabilities"].items())[:SHOWN_CLASSES]
        print(text_table(("label", "probability"), [[k, f"{v:.4f}"] for k, v in pairs], right="lr"))
    elif "label" in rows[0]:
        cells = [
            [str(i), row["label"], f"{row['probabilities'][row['label']]:.4f}"]
            for i, row in enumerate(rows)
        ]
        print(text_table(("row", "label", "probability"), cells, right="rlr"))
    elif "values" in rows[0]:
        title = f"{rows[0]['output']} ({rows[0]['units']})".replace(" ()", "")
        _print_values(title, [row["values"] for row in rows])
    else:
        print_json(rows)
    for name in rows[0].get("others", ()):
        print()
        _print_values(name, [row["others"][name] for row in rows])


def _print_values(title: str, values: Sequence[Sequence[float]]) -> None:
    from zoo.table import text_table

    cells = [[str(i), " ".join(f"{v:.6g}" for v in row)] for i, row in enumerate(values)]
    print(text_table(("row", title), cells, right="rl"))
