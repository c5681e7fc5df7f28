"""Repositories with ensembles of tiny models."""

from tests.server.model_repositories import Repository
from tests.server.onnx_graphs import Graphs

ROW = "max_batch_size: 8 input [{{ name: '{}' data_type: TYPE_FP32 dims: [ 4 ] }}]" \
    " output [{{ name: '{}' data_type: TYPE_FP32 dims: [ 4 ] }}]".replace("'", '"')  # fmt: skip


def step(model: str, inputs: dict[str, str], outputs: dict[str, str], version: int = -1) -> str:
    """Return one step, as config.pbtxt has it."""
    maps = [f'input_map {{ key: "{name}" value: "{tensor}" }}' for name, tensor in inputs.items()]
    maps += [
        f'output_map {{ key: "{name}" value: "{tensor}" }}' for name, tensor in outputs.items()
    ]
    return f'step {{ model_name: "{model}" model_version: {version} {" ".join(maps)} }}'


def ensemble(*steps: str, inputs: str = "X", outputs: str = "Y", tensors: str = "") -> str:
    """Return an ensemble's config.pbtxt: rows of four floats in and out unless `tensors` says."""
    shape = tensors or ROW.format(inputs, outputs)
    return f'platform: "ensemble" {shape} ensemble_scheduling {{ {" ".join(steps)} }}'


def chain(repository: Repository, graphs: Graphs) -> None:
    """Add `chain`: X + 10, and that + 10; its one model is `plus`."""
    repository.add("plus", graphs.with_default())
    repository.add(
        "chain",
        None,
        ensemble(step("plus", {"x": "mid"}, {"y": "Y"}), step("plus", {"x": "X"}, {"y": "mid"})),
    )
