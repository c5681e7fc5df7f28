"""The code that a model's page shows: how to ask it, in five ways, and the recipe that made it."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Example:
    """One way to ask: the id of its tab, the tab's title, the code."""

    key: str
    title: str
    text: str


def examples(
    name: str, feeds: Mapping[str, np.ndarray], *, stateful: bool, image: bool
) -> list[Example]:
    """Return code that asks for one row; `feeds` is that row, by input.

    Of a stateful model only the first input is asked for: the server keeps the others.
    """
    if stateful:
        first = next(iter(feeds))
        feeds = {first: feeds[first]}
    shapes = {key: list(value.shape) for key, value in feeds.items()}
    small = all(value.size <= 12 for value in feeds.values())
    arrays = {
        key: json.dumps(_plain(value)) if small else f"np.zeros({tuple(value.shape)}, np.float32)"
        for key, value in feeds.items()
    }
    arguments = [f'"{key}.png"' for key in feeds] if image else list(arrays.values())
    if not (image or small):
        arguments = [f'"{key}.npy"' for key in feeds]
    return [
        Example("python", "Python", _library(name, arguments)),
        Example("client", "zoo.client", _client(name, arrays)),
        Example("triton", "tritonclient", _triton(name, shapes, arrays)),
        Example("grpcurl", "grpcurl", _grpcurl(name, feeds)),
        Example("curl", "curl", _curl(name, feeds)),
    ]


def keras_code(recipe: Recipe) -> str:
    """Return the source of the function that builds the Keras model, without its docstring."""
    source = textwrap.dedent(inspect.getsource(recipe.trained_as.builder))
    body = source[source.index("def ") :]
    head, _, rest = body.partition('"""')
    _, _, after = rest.partition('"""')
    return (head.rstrip() + "\n    " + after.strip()).strip() if after else body


def _plain(value: np.ndarray) -> Any:
    return np.round(value.astype(float), 4).tolist()


def _numpy(arrays: Mapping[str, str]) -> str:
    return "import numpy as np\n" if any("np." in text for text in arrays.values()) else ""


def _library(name: str, values: Sequence[str]) -> str:
    return f'import zoo\n\nmodel = zoo.load("{name}")\nprint(model.predict({", ".join(values)}))'


def _client(name: str, arrays: Mapping[str, str]) -> str:
    if len(arrays) == 1:
        (values,) = arrays.values()
    else:
        values = "{" + ", ".join(f'"{key}": {text}' for key, text in arrays.items()) + "}"
    return (
        f"{_numpy(arrays)}from zoo.client import Client\n\n"
        'with Client("127.0.0.1:8001") as client:\n'
        f'    print(client.infer("{name}", {values}))'
    )


def _triton(name: str, shapes: Mapping[str, list[int]], arrays: Mapping[str, str]) -> str:
    lines = [
        "import numpy as np",
        "import tritonclient.grpc as triton",
        "",
        'client = triton.InferenceServerClient("127.0.0.1:8001")',
    ]
    for key, text in arrays.items():
        values = text if "np." in text else f"np.array({text}, np.float32)"
        lines.append(f'{key} = triton.InferInput("{key}", {shapes[key]}, "FP32")')
        lines.append(f"{key}.set_data_from_numpy({values})")
    lines.append(f'answer = client.infer("{name}", [{", ".join(arrays)}])')
    lines.append("print(answer.get_response())")
    return "\n".join(lines)


def _tensor(key: str, value: np.ndarray) -> dict[str, Any]:
    data = np.round(value.astype(float).ravel(), 4).tolist()
    return {"name": key, "datatype": "FP32", "shape": list(value.shape), "data": data}


def _curl(name: str, feeds: Mapping[str, np.ndarray]) -> str:
    if any(value.size > 100 for value in feeds.values()):
        return (
            '# request.json: {"inputs": [{"name": …, "datatype": "FP32", "shape": …, "data": […]}]}\n'
            f"curl -d @request.json http://127.0.0.1:8000/v2/models/{name}/infer"
        )
    body = json.dumps({"inputs": [_tensor(key, value) for key, value in feeds.items()]})
    return f"curl -d '{body}' http://127.0.0.1:8000/v2/models/{name}/infer"


def _grpcurl(name: str, feeds: Mapping[str, np.ndarray]) -> str:
    if any(value.size > 100 for value in feeds.values()):
        return (
            f'grpcurl -plaintext -d \'{{"name": "{name}"}}\' 127.0.0.1:8001 '
            "inference.GRPCInferenceService/ModelMetadata"
        )
    inputs = []
    for key, value in feeds.items():
        tensor = _tensor(key, value)
        inputs.append(tensor | {"contents": {"fp32_contents": tensor["data"]}})
        del inputs[-1]["data"]
    body = json.dumps({"model_name": name, "inputs": inputs})
    return (
        f"grpcurl -plaintext -d '{body}' 127.0.0.1:8001 inference.GRPCInferenceService/ModelInfer"
    )
