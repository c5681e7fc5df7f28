"""The part of onnxruntime's Python interface that is used here, as types: its wheels ship none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np


class Onnxruntime(Protocol):
    """The module."""

    __version__: str
    SessionOptions: Callable[[], "SessionOptions"]
    RunOptions: Callable[[], "RunOptions"]
    InferenceSession: Callable[..., "InferenceSession"]
    OrtValue: "OrtValueFactory"
    ExecutionMode: "ExecutionModes"
    GraphOptimizationLevel: "OptimizationLevels"

    def get_available_providers(self) -> list[str]:
        """Return the names of the providers that it was built with."""

    def disable_telemetry_events(self) -> None:
        """Send no reports of use."""

    def register_execution_provider_library(self, name: str, path: str) -> None:
        """Load a plugin's library; from 1.23 on."""

    def get_ep_devices(self) -> Sequence["Device"]:
        """Return the devices that the providers support; from 1.23 on."""


class ExecutionModes(Protocol):
    """Whether nodes that do not need each other run side by side."""

    ORT_PARALLEL: object
    ORT_SEQUENTIAL: object


class OptimizationLevels(Protocol):
    """How much a graph is changed before it runs; the others are found by name."""

    ORT_DISABLE_ALL: object


class SessionOptions(Protocol):
    """How a graph is loaded and run."""

    intra_op_num_threads: int
    inter_op_num_threads: int
    execution_mode: object
    enable_cpu_mem_arena: bool
    enable_mem_pattern: bool
    graph_optimization_level: object
    log_severity_level: int

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Set what has no attribute of its own."""

    def add_provider(self, name: str, options: Mapping[str, str]) -> None:
        """Append a provider that is built in; from 1.22 on."""

    def add_provider_for_devices(
        self, devices: Sequence["Device"], options: Mapping[str, str]
    ) -> None:
        """Append the provider of some devices; from 1.22 on."""

    def set_load_cancellation_flag(self, flag: bool) -> None:
        """End a load that is under way; from 1.22 on."""


class RunOptions(Protocol):
    """How one run goes, and its end before time."""

    terminate: bool

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Set what has no attribute of its own."""


class Tensor(Protocol):
    """An input or output of a graph (NodeArg); a dimension is a number, a name or None."""

    name: str
    type: str
    shape: Sequence[int | str | None]


class OrtValue(Protocol):
    """A tensor as onnxruntime holds it."""

    def data_type(self) -> str:
        """Return its type as text, such as tensor(float)."""

    def shape(self) -> Sequence[int]:
        """Return its dimensions."""

    def data_ptr(self) -> int:
        """Return where its data lies."""

    def numpy(self) -> np.ndarray:
        """Return it as an array, whose type numpy must know."""


class OrtValueFactory(Protocol):
    """The class OrtValue."""

    def ortvalue_from_numpy(self, array: np.ndarray) -> OrtValue:
        """Return an array as a value."""

    def ortvalue_from_numpy_with_onnx_type(
        self, array: np.ndarray, onnx_element_type: int
    ) -> OrtValue:
        """Return an array of bits as a value of a type that numpy lacks; from 1.20 on."""


class Run(Protocol):
    """A session's `run`: the named outputs, in order."""

    def __call__(
        self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], options: RunOptions | None
    ) -> list[np.ndarray]:
        """Run; what it raises has no base below Exception."""


class InferenceSession(Protocol):
    """One loaded graph."""

    @property
    def run(self) -> Run:
        """Runs the graph."""

    def run_with_ort_values(
        self,
        outputs: list[str],
        feeds: Mapping[str, OrtValue],
        options: RunOptions | None,
    ) -> list[OrtValue]:
        """Run with values in the place of arrays."""

    def get_inputs(self) -> Sequence[Tensor]:
        """Return the inputs that must be fed."""

    def get_overridable_initializers(self) -> Sequence[Tensor]:
        """Return the inputs that have a default."""

    def get_outputs(self) -> Sequence[Tensor]:
        """Return the outputs."""

    def get_providers(self) -> list[str]:
        """Return the providers that the session has, best first."""

    def get_provider_graph_assignment_info(self) -> Sequence["AssignedPart"]:
        """Return which provider took which nodes; from 1.24 on."""


class AssignedPart(Protocol):
    """A part of a graph that one provider took."""

    ep_name: str

    def get_nodes(self) -> Sequence["AssignedNode"]:
        """Return its nodes."""


class AssignedNode(Protocol):
    """A node of such a part."""

    op_type: str


class DeviceType(Protocol):
    """A member of an enumeration."""

    name: str


class Hardware(Protocol):
    """What a device is."""

    type: DeviceType


class Device(Protocol):
    """A device of this machine that a provider supports (OrtEpDevice)."""

    ep_name: str
    device: Hardware
