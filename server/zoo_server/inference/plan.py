"""What a checked request becomes: a plan, which requests of a kind share, and the data of its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from zoo_server.inference.request import OutputRequest
from zoo_server.inference.shared_memory import Source
from zoo_server.model_config import OutputSettings

#: One input's elements, ready for the graph: bytes of exactly its size, where they lie in shared
#: memory, or an array of its shape.
Data = bytes | memoryview | Source | np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedInput:
    """One input that a request brings, as the graph takes it."""

    name: str
    dtype: np.dtype
    #: With the batch dimension where the model has one.
    shape: tuple[int, ...]
    #: None where elements differ in length.
    nbytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All of a checked request but its data; requests that differ in their data only share one."""

    inputs: tuple[PlannedInput, ...]
    #: Dimension 0 of every input, or 0 where the model does not batch.
    batch_size: int
    outputs: tuple[tuple[OutputSettings, OutputRequest], ...]
    #: The outputs' names, for the graph.
    names: tuple[str, ...]
    #: Equal for requests that may share a run: the same inputs, of like shape, as a text, which
    #: keeps its hash.
    key: str
    #: The rows of a run that it takes: the batch size, or 1.
    rows: int
    #: Whether classification of an output is requested, which takes sorting.
    classifies: bool
    #: What a run's time grows with: rows where all are alike, else the inputs' elements; 0 where
    #: nothing that is known beforehand tells (schedulers/latency_model.py).
    size: int
    #: The inputs that come as files of pictures, to be read before a run.
    pictures: tuple[str, ...] = ()
    #: A cache of the encoders of answers: what they computed for this plan, by the outputs' shapes.
    encoded: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    def with_inputs(self, inputs: tuple[PlannedInput, ...]) -> "Plan":
        """Return a plan that feeds more inputs to the graph, and is else the same."""
        return replace(self, inputs=self.inputs + inputs)


@lru_cache(maxsize=4096)
def planned_array(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> PlannedInput:
    """Return an input that comes as an array of the server's own."""
    return PlannedInput(name=name, dtype=dtype, shape=shape, nbytes=None if dtype.hasobject else 0)


@dataclass(slots=True)
class CheckedRequest:
    """A request that fits its model: its plan, and the data of the plan's inputs, in order."""

    plan: Plan
    data: Sequence[Data]
