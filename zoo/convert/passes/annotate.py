"""Writes a file's description: metadata_props, and a doc_string for each input and output.

Right for every graph: no runtime computes with either. Properties are written in the order given,
so that the same ones make the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto


def annotate(
    model: ModelProto, properties: Mapping[str, str], documents: Mapping[str, str] | None = None
) -> None:
    """Replace a model's properties, and document its tensors by name."""
    del model.metadata_props[:]
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.doc_string = (documents or {}).get(tensor.name, "")
