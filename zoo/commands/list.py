"""zoo list: the models, their metrics, and whether they are published."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from zoo.commands import add_json, add_modules, add_published, print_json, registry
from zoo.errors import UsageError
from zoo.models.find import existing_repository
from zoo.publish.versions import REPOSITORY, export_command

SUMMARY = "list the models: data, parameters, metric, and which are published"
EXAMPLE = "zoo list --json"

BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_modules(parser)
    add_published(parser)
    forms = parser.add_mutually_exclusive_group()
    add_json(forms)
    forms.add_argument("--names", action="store_true", help="print the names alone, one a line")
    forms.add_argument(
        "--markdown",
        type=Path,
        metavar="README.md",
        help=f"rewrite the table between {BEGIN} and {END} in this file",
    )


def run(options: argparse.Namespace) -> int:
    """Print the models of the registry, then published ones that no recipe names."""
    if options.names:
        print("\n".join(_names(options)))
        return 0
    rows = _rows(options)
    if options.json:
        print_json(rows)
    elif options.markdown:
        _rewrite(options.markdown, rows, _without_data(options, rows))
    else:
        _print(rows, export_command(options.repository or REPOSITORY, modules=options.modules))
    return 0


def _names(options: argparse.Namespace) -> list[str]:
    """Return the registry's models, then published ones that no recipe names."""
    from zoo.publish.versions import model_names

    known = registry(options)
    published = model_names(existing_repository(options.repository))
    return [*known.names(), *(name for name in published if name not in known.owners)]


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one record a model; figures come from manifests, so they were measured."""
    from zoo.publish.versions import read_manifest

    known = registry(options)
    repository = existing_repository(options.repository)
    rows = []
    for name in _names(options):
        manifest = read_manifest(repository, name)
        row: dict[str, Any] = {"model": name, "owner": known.owners.get(name)}
        if manifest is not None and manifest.damage:
            row["damage"] = manifest.damage
        elif manifest is not None:
            row |= _figures(manifest.values) | {"version": int(manifest.folder.name)}
        elif name not in known.owners:
            continue  # a model from elsewhere: the server lists it, and there is no manifest of ours
        rows.append(row)
    return rows


def _figures(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the measured figures of a manifest."""
    from zoo.parity.compare import largest_on_plain_rows
    from zoo.publish.versions import model_bytes

    files = {
        "worst_difference": largest_on_plain_rows(manifest["parity"]),
        "bytes": model_bytes(manifest),
    }
    if "training" not in manifest:  # of a file of the user's, we know no more
        return files | {"data": manifest["summary"]}
    training = manifest["training"]
    return files | {
        "tutorial": manifest["tutorial"],
        "data": manifest["data"]["title"],
        "parameters": training["parameters"],
        "metric": training["metric"],
        "baseline": training["baseline"],
        "linear": training.get("linear"),
        "seeds": training.get("seeds"),
    }


HEADER = ("model", "data", "parameters", "held-out", "baseline", "linear", "Δ Keras", "bytes")
RIGHT = "llrlllrr"
DROPPED = ("bytes", "Δ Keras", "parameters", "linear", "baseline", "data")


def _cells(row: dict[str, Any], command: str = "") -> list[str]:
    """Return a row's cells under HEADER; without figures, what is to be said stands in their place.

    `command` exports a model that has not been yet.
    """
    if "bytes" not in row:
        status = row.get("damage", f"not exported yet: {command}")
        return [row["model"], "", "", status, "", "", "", ""]
    measured = [f"{row['worst_difference']:.0e}", str(row["bytes"])]
    if "metric" not in row:
        return [row["model"], row["data"], "", "", "", "", *measured]
    metric, baseline = row["metric"], row["baseline"]
    return [
        row["model"],
        row["data"],
        str(row["parameters"]),
        f"{metric['name']} {_short(metric['value'])}{_over_seeds(row['seeds'])}",
        _short(baseline["value"]),
        _short(row["linear"]["value"]) if row["linear"] else "",
        *measured,
    ]


def _over_seeds(seeds: dict[str, Any] | None) -> str:
    """Return the mean and deviation of several seeds, where they were trained."""
    return "" if seeds is None else f" ({_short(seeds['mean'])} ± {_short(seeds['deviation'])})"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _print(rows: list[dict[str, Any]], command: str) -> None:
    from zoo.terminal.tables import print_table

    print_table(HEADER, [_cells(row, command) for row in rows], right=RIGHT, dropped=DROPPED)


#: In a file there is room for the tutorial's pieces, which are the widest.
FILE_HEADER = (HEADER[0], "the tutorial's piece", *HEADER[1:])
FILE_RIGHT = f"l{RIGHT}"


def _without_data(options: argparse.Namespace, rows: list[dict[str, Any]]) -> set[str]:
    """Return the models that cannot be trained on this machine, since their data is opt-in."""
    known = registry(options)
    lacking = [row["model"] for row in rows if "bytes" not in row and row["owner"] is not None]
    return {name for name in lacking if known.get(name).dataset.is_left_out}


def _rewrite(path: Path, rows: list[dict[str, Any]], without_data: set[str]) -> None:
    """Replace the generated table in a Markdown file; models without data keep their old line."""
    from zoo.table import markdown_table

    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    old = {
        name: line.strip("| ").split(" | ")
        for name, line in re.findall(r"^(?=\| `(\w+)` \|)(.*)$", text, re.MULTILINE)
        if name in without_data and line.count(" | ") == len(FILE_HEADER) - 1
    }
    lacking = [row["model"] for row in rows if "bytes" not in row and row["model"] not in old]
    if lacking:
        raise UsageError(
            f"{path} would lose its figures of {', '.join(lacking)}: export them first"
        )
    cells = []
    for row in rows:
        name, *figures = _cells(row)
        tutorial = row.get("tutorial", "")
        cells.append(old.get(name) or [f"`{name}`", f"`{tutorial}`", *figures])
    table = markdown_table(FILE_HEADER, cells, right=FILE_RIGHT)
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise UsageError(f"{path} has no lines {BEGIN} and {END} to put the table between")
    path.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text))
