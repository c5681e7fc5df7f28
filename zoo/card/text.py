"""Writes the model card from a manifest, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.card import convention
from zoo.card.parity import parity_section
from zoo.parity.variants import variants_of
from zoo.recipes.architecture import Layer, call_text, shape_text
from zoo.recipes.trial_settings import settings_text
from zoo.table import markdown_table
from zoo.training.seeds import seeds_text

#: A version never changes, and what runs it does: so this stands beside it.
ELSEWHERE = (
    "`zoo verify --runtimes all` measures every file in other runtimes, and writes what it finds to "
    "[RUNTIMES.md](../RUNTIMES.md), beside `config.pbtxt`."
)


def card(manifest: Mapping[str, Any], *, smaller: str = "") -> str:
    """Return the card of one published version; `smaller` is the section on quantised variants."""
    training, data = manifest["training"], manifest["data"]
    layers = [Layer.from_json(values) for values in manifest["layers"]]
    evaluation = manifest["evaluation"]
    sections = [
        convention.front_matter(manifest),
        f"# {manifest['name']}",
        manifest["summary"],
        f"The tutorial's piece: `{manifest['tutorial']}`",
        "![the model's layers and shapes](model.svg)",
        "## How to use it",
        convention.use(manifest),
        *(
            ["![held-out images, with truth and answer](samples.svg)"]
            if "samples.svg" in manifest["files"]
            else []
        ),
        "## What it is for, and what not",
        convention.intended_use(manifest),
        "## What it reaches",
        results(training, data),
        "![answers on held-out rows](held_out.svg)",
        *_details(evaluation, training["metric"]["units"]),
        "![loss by epoch](history.svg)",
        "## What goes in and what comes out",
        _interface(manifest),
        "## Layers",
        layer_table(layers),
        *_inside(manifest),
        "## Files",
        _files(manifest),
        *([smaller] if smaller else []),
        "## Agreement with Keras",
        parity_section(manifest),
        "## In other runtimes",
        ELSEWHERE,
        "## Where it comes from",
        _origin(manifest),
        "## Licence",
        convention.licence(manifest),
        "## Citation",
        convention.citation(manifest),
    ]
    return "\n\n".join(sections) + "\n"


#: The pictures of what goes on inside a model, by file: what each is, and how to read it.
INSIDE: Mapping[str, tuple[str, str]] = {
    "filters.svg": (
        "the kernels of the first convolution",
        "Where a kernel of the first convolution is blue, ink adds to the answer; where it is orange, ink "
        "takes from it. Kernels over red, green and blue are drawn in these colours, and grey is zero.",
    ),
    "activations.svg": (
        "what convolution and pooling answer to one image",
        "What convolution and pooling answer to the held-out image with the most contrast, as shares of "
        "each layer's strongest answer.",
    ),
    "memory.svg": (
        "states and gates of the recurrent layer along the series",
        "What the recurrent layer remembers after each held-out window, and how far its gates are open at "
        "the window's last step; above, the value that came next.",
    ),
}


def _inside(manifest: Mapping[str, Any]) -> list[str]:
    """Return the section with the pictures that the version has, if any."""
    lines = []
    for file, (name, meaning) in INSIDE.items():
        if file in manifest["files"]:
            lines += [meaning, f"![{name}]({file})"]
    return ["## Inside", *lines] if lines else []


def layer_rows(layers: Sequence[Layer]) -> list[list[str]]:
    """Return one row a layer: call, output shape, parameters, connections."""
    return [
        [
            layer.name,
            call_text(layer),
            shape_text(layer.output_shape),
            str(layer.trainable),
            "" if layer.connections is None else str(layer.connections),
        ]
        for layer in layers
    ]


LAYER_HEADER = ("layer", "type", "output shape", "parameters", "connections")


def layer_table(layers: Sequence[Layer]) -> str:
    """Return the layers as a Markdown table."""
    rows = [[f"`{row[0]}`", f"`{row[1]}`", *row[2:]] for row in layer_rows(layers)]
    return markdown_table(LAYER_HEADER, rows, right="lllrr")


def results(training: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return the measured metric beside the claim and the baseline."""
    metric, baseline, linear = (training[key] for key in ("metric", "baseline", "linear"))
    rows = [
        [f"{metric['name']} on {data['rows']['test']} held-out rows", _value(metric)],
        *_over_seeds(training),
        *_settings(training),
        [f"the naive baseline: {baseline['name'].replace('_', ' ')}", f"{baseline['value']:.4g}"],
        [f"a linear model of the same rows: {linear['name']}", f"{linear['value']:.4g}"],
        ["the recipe's claim", training["claim"]["text"]],
        [
            "trained for",
            f"{training['epochs']} epochs, the best weights after {training['best_epoch']}",
        ],
        ["parameters", f"{training['parameters']} trained, {training['total_parameters']} in all"],
    ]
    table = markdown_table(("", "measured"), rows)
    return "\n\n".join([table, *_linear_note(training)])


def _over_seeds(training: Mapping[str, Any]) -> list[list[str]]:
    """Return how much of the metric is chance, where several seeds were trained."""
    seeds = training.get("seeds")
    if not seeds:
        return []
    name, count = training["metric"]["name"], len(seeds["values"])
    what = f"{name} over {count} seeds, this one included: mean ± standard deviation"
    return [[what, f"{seeds_text(seeds)} {training['metric']['units']}".rstrip()]]


def _settings(training: Mapping[str, Any]) -> list[list[str]]:
    """Return what differs from the recipe's own values, and what that was chosen from."""
    settings, search = training.get("settings"), training.get("search")
    text = f"`{settings_text(settings)}`" if settings else "the recipe's own"
    if search:
        return [["settings", f"{text}: the lowest validation loss of {search['trials']} trials"]]
    return [["settings", text]] if settings else []


def _linear_note(training: Mapping[str, Any]) -> list[str]:
    """Say so where the linear model is better, and why the recipe stays."""
    metric, linear = training["metric"], training["linear"]
    sign = 1 if metric["higher_is_better"] else -1
    if sign * metric["value"] >= sign * linear["value"]:
        return []
    reason = training["recipe"].get("why_not_linear", "")
    return [f"**The linear model does better on these rows.** {reason}".rstrip()]


def _value(metric: Mapping[str, Any]) -> str:
    return f"{metric['value']:.4g} {metric['units']}".rstrip()


def _details(evaluation: Mapping[str, Any], units: str) -> list[str]:
    """Return the figures of each class and the calibration, or how large errors are."""
    if "errors" in evaluation:
        errors = evaluation["errors"]
        text = (
            f"Errors on held-out rows{f', in {units}' if units else ''}: half of them are at most "
            f"{errors['median']:g}, nine tenths at most {errors['nine_tenths']:g}, the largest is "
            f"{errors['largest']:g}."
        )
        return [text]
    classes = [
        [
            each["class"],
            str(each["rows"]),
            *map(_share, (each["precision"], each["recall"], each["f1"])),
        ]
        for each in evaluation["classes"]
    ]
    calibration = evaluation["calibration"]
    bins = [
        [
            f"{each['from']:g} to {each['to']:g}",
            str(each["rows"]),
            _share(each["confidence"]),
            _share(each["right"]),
        ]
        for each in calibration["bins"]
    ]
    return [
        markdown_table(
            ("class", "held-out rows", "precision", "recall", "F1"), classes, right="lrrrr"
        ),
        "How sure the model is of its answers, and how many of them are right (expected calibration error "
        f"{calibration['error']:.3f}):",
        markdown_table(("probability of the answer", "rows", "mean", "right"), bins, right="lrrr"),
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interface(manifest: Mapping[str, Any]) -> str:
    """Return the graph's inputs and outputs, and what their values mean."""
    graph = manifest["graph"]
    sides = [("input", tensor) for tensor in graph["inputs"]]
    sides += [("output", tensor) for tensor in graph["outputs"]]
    rows = [
        [side, f"`{tensor['name']}`", tensor["datatype"], " × ".join(map(str, tensor["shape"]))]
        for side, tensor in sides
    ]
    meaning = [f"- {key}: {value}" for key, value in sorted(manifest["parameters"].items())]
    table = markdown_table(("", "name", "type", "shape"), rows)
    return "\n".join([table, "", *meaning])


def _files(manifest: Mapping[str, Any]) -> str:
    """Return the version's ONNX files, and why one that could be expected is not there."""
    rows, lacking = [], []
    for variant in variants_of(manifest):
        if "graph" not in variant:
            lacking.append(
                f"There is no `{variant['file']}` ({variant['title']}): {variant['reason']}."
            )
            continue
        graph = variant["graph"]
        size = str(manifest["files"][variant["file"]]["bytes"])
        title, opset = variant["title"], str(graph["opset"])
        rows.append([f"`{variant['file']}`", title, opset, str(graph["nodes"]), size])
    header = ("file", "what it is", "opset", "nodes", "bytes")
    return "\n\n".join([markdown_table(header, rows, right="llrrr"), *lacking])


def _origin(manifest: Mapping[str, Any]) -> str:
    """Return data, licence, seed and versions."""
    data, training = manifest["data"], manifest["training"]
    rows = data["rows"]
    graph = manifest["graph"]
    versions = ", ".join(f"{name} {value}" for name, value in sorted(manifest["versions"].items()))
    lines = [
        f"- data: {data['title']} ({data['source']}; {data['licence']})",
        f"- rows: {rows['train']} to train, {rows['validation']} to choose the best weights, "
        f"{rows['test']} held out",
        f"- seed: {training['recipe']['seed']}",
        f"- graph: opset {graph['opset']}, IR {graph['ir_version']}, {graph['nodes']} nodes",
        f"- made with {versions}",
    ]
    return "\n".join(lines)
