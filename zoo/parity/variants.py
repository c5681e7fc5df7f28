"""The variants of a version: the ONNX files that hold the same model.

    model.onnx            the first variant: what is served, and what the interface is read from
    model.portable.onnx   without recurrent operators, for runtimes that lack them

A variant that cannot be made says why; the manifest repeats it. Plain values, no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.parity.compare import Tolerance
from zoo_server.repository import layout

#: What follows a model file's stem in the name of its portable variant.
PORTABLE_SUFFIX = ".portable.onnx"
MODEL_TITLE = "the model"
PORTABLE_TITLE = "portable: without recurrent operators, for runtimes that lack them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A variant on disk: the bytes that it takes, its file's checksum, and its external data.

    `data` names the file beside it that holds its larger weights; `bytes` are those of both.
    """

    bytes: int
    sha256: str
    data: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One ONNX file of a version, in memory or on disk, or the reason why there is none.

    `graph` is what zoo.convert.conversion.facts says of it, and `tolerance` the bound that it is held to
    against Keras. A variant that was judged otherwise, since it is not meant to be equal, has
    `exact=False`, and `measured` says how it was judged; both are recorded in the manifest.
    """

    file: str
    title: str
    content: bytes | None = field(default=None, repr=False)
    written: Written | None = None
    graph: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Tolerance = field(default_factory=Tolerance)
    exact: bool = True
    measured: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.content is None and self.written is None) != bool(self.reason):
            raise ValueError(f"{self.file} has either a content or a reason for having none")

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files on disk, its external data first."""
        if self.written is None:
            return ()
        return (self.written.data, self.file) if self.written.data else (self.file,)


def variants_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the variants that a version's manifest lists, the model itself first, in one form.

    One that could not be made has a reason and no graph.
    """
    own = ("graph", "tolerance", "parity", "left_out", "held_out", "conditioning")
    first = {"file": layout.MODEL_FILE, "title": MODEL_TITLE, "exact": True}
    first |= {key: manifest[key] for key in own if key in manifest}
    return [first, *manifest.get("variants", ())]
