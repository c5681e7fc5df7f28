"""The parts of a card that the model-card convention asks for: front matter, use, limits, licence, citation.

The front matter is YAML as https://huggingface.co/docs/hub/model-cards has it. A JSON value is YAML too, and so
nothing needs to be quoted by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: The hub's words for what a model does, by our tasks; an image's goes before.
PIPELINES: Mapping[str, str] = {
    "multiclass": "tabular-classification",
    "binary": "tabular-classification",
    "regression": "tabular-regression",
    "forecast": "time-series-forecasting",
}
IMAGES = "image-classification"

LICENCE = "apache-2.0"


def front_matter(manifest: Mapping[str, Any]) -> str:
    """Return the card's YAML, between its two lines."""
    training, data = manifest["training"], manifest["data"]
    metric, pipeline = training["metric"], _pipeline(manifest)
    result = {
        "task": {"type": pipeline},
        "dataset": {"type": data["name"], "name": data["title"], "split": "test"},
        "metrics": [
            {
                "type": metric["name"].replace("mean absolute error", "mae"),
                "name": metric["name"],
                "value": round(metric["value"], 4),
            }
        ],
    }
    values = {
        "license": LICENCE,
        "library_name": "keras",
        "pipeline_tag": pipeline,
        "tags": ["onnx", "keras", "layer-zoo", manifest["task"]],
        "model-index": [{"name": manifest["name"], "results": [result]}],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _pipeline(manifest: Mapping[str, Any]) -> str:
    return IMAGES if manifest["data"].get("image") else PIPELINES[manifest["task"]]


def use(manifest: Mapping[str, Any]) -> str:
    """Return how to ask the model, in three lines."""
    name = manifest["name"]
    return f'```python\nimport zoo\n\nmodel = zoo.load("{name}")\nprint(*model.predict({_example(manifest)}))\n```'


def _example(manifest: Mapping[str, Any]) -> str:
    states = set(manifest.get("states", ()))
    names = [each["name"] for each in manifest["graph"]["inputs"] if each["name"] not in states]
    if manifest["data"].get("image"):
        return ", ".join(f'"{name}.png"' for name in names)
    return json.dumps(manifest["evaluation"]["example"])


def intended_use(manifest: Mapping[str, Any]) -> str:
    """Return what the model is for, and what it is not."""
    rows = manifest["data"]["rows"]
    return "\n".join(
        [
            "- It shows the piece of the tutorial that is named above: to be read, trained again, exported, served "
            "and compared.",
            f"- It was trained on {rows['train']} rows of one data set, and judged on {rows['test']}. Rows that are unlike "
            "them get an answer too, which then means nothing; the model does not notice.",
            "- It is not made for decisions about people, medical ones among them. Nobody examined it for fairness.",
        ]
    )


def licence(manifest: Mapping[str, Any]) -> str:
    """Return the terms of the weights and of the data that they came from."""
    data = manifest["data"]
    return (
        "The weights and the code that made them are under Apache-2.0. The data has terms of its own: "
        f"{data['title']}, {data['source']}; {data['licence']}."
    )


def citation(manifest: Mapping[str, Any]) -> str:
    """Return an entry for BibTeX."""
    return (
        "```bibtex\n@software{layer_zoo,\n  title   = {Layer Zoo},\n  author  = {{The Layer Zoo maintainers}},\n"
        f"  version = {{{manifest['versions']['layer-zoo']}}},\n"
        f"  note    = {{model {manifest['name']}}}\n}}\n```"
    )
