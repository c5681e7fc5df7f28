"""A model's configuration as frozen values: its tensors, batching, instances and sequences.

server/zoo_server/repository derives it from config.pbtxt and the graph; validation, schedulers and
protocols use it. No protobuf. The meanings are Triton's (docs/protocol.md 5); times are in nanoseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from zoo_server.datatypes import VARIABLE, DataType
from zoo_server.images.description import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How one priority level's queue treats those who wait in it."""

    #: How long a request may wait, 0 without limit.
    timeout_ns: int = 0
    #: What happens then: True refuses it, False lets it wait on behind everybody else.
    rejects: bool = True
    #: Whether a request's own `timeout` may shorten (never lengthen) the wait.
    allows_override: bool = False
    #: How many may wait, 0 without limit.
    max_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An amount of a named resource, which an instance holds while it runs."""

    name: str
    count: int
    #: There is one number of it for the whole server, and not one a device.
    is_global: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLimit:
    """What the rate limiter needs to know of one instance: its resources, priority and device."""

    resources: tuple[Resource, ...] = ()
    #: Of priority 2 an instance has half the turns of one of priority 1; 0 is 1.
    priority: int = 1
    #: The device that it runs on, as Triton numbers them: the CPU is 0.
    device: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How the requests of one model become runs."""

    #: The most rows of one run; 1 where the model has no batch dimension.
    max_rows: int = 1
    #: Whether requests are joined at all: config.pbtxt says dynamic_batching.
    joins: bool = False
    #: Numbers of rows that are run as soon as they have gathered.
    preferred: frozenset[int] = frozenset()
    #: How long the oldest request may wait for others; 0 takes what waits.
    delay_ns: int = 0
    #: Answers leave in the order in which requests came, even with several instances.
    preserves_order: bool = False
    #: Priorities, 1 the most urgent; 0 where the model has none.
    levels: int = 0
    default_level: int = 0
    default_policy: QueuePolicy = field(default_factory=QueuePolicy)
    #: Policies of levels that differ from the default.
    policies: dict[int, QueuePolicy] = field(default_factory=dict)
    #: How many runs may be under way at once (instance_group's counts).
    instances: int = 1
    #: For the rate limiter, one an instance; empty where no group says anything.
    limits: tuple[InstanceLimit, ...] = ()

    def policy(self, level: int) -> QueuePolicy:
        """Return the policy of a level."""
        return self.policies.get(level, self.default_policy)


class ControlKind(StrEnum):
    """What a control input tells the graph of the request's place in its sequence."""

    START = "START"
    END = "END"
    READY = "READY"
    CORRELATION_ID = "CORRID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One input that the server fills, one element a request."""

    input: str
    kind: ControlKind
    datatype: DataType
    #: As the graph takes it, without the batch dimension.
    dims: tuple[int, ...]
    #: The values for false and true; a correlation id has none.
    values: tuple[float, float] = (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A tensor carried from one request of a sequence to the next; it begins as zeros."""

    input: str
    output: str
    datatype: DataType
    #: Without the batch dimension.
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """How a model's requests form sequences: control inputs, states, bounds."""

    controls: tuple[Control, ...] = ()
    states: tuple[State, ...] = ()
    #: A sequence that is silent for longer is forgotten.
    idle_ns: int = 1_000_000_000
    #: Sequences that may be live at once; more wait until one of them ends.
    most: int = 1

    @property
    def inputs(self) -> tuple[Control | State, ...]:
        """What a run takes beyond what clients send, in order."""
        return (*self.controls, *self.states)


class BatchInputKind(StrEnum):
    """What a batch input tells the graph of its source: for each request, or for each row of it."""

    ELEMENT_COUNT = "element count"
    #: Where each request's elements end among those of all.
    ACCUMULATED_ELEMENT_COUNT = "accumulated element count"
    #: Likewise, from the first one's beginning.
    ACCUMULATED_ELEMENT_COUNT_WITH_ZERO = "accumulated element count with zero"
    #: As many elements as the largest request has, whose values mean nothing.
    MAX_ELEMENT_COUNT_AS_SHAPE = "largest element count as the shape"
    #: The shape of each row, one below the other or one after the other.
    ITEM_SHAPE = "item shape"
    ITEM_SHAPE_FLATTEN = "item shape, flattened"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """Inputs of the graph that are made for each run."""

    kind: BatchInputKind
    targets: tuple[str, ...]
    #: The input that is described.
    source: str
    datatype: DataType
    #: How far the type counts without a gap.
    largest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutput:
    """An output that is split among requests by the shapes that an input had."""

    source: str
    #: Without the batch dimension; a variable one is the source's at that place.
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaggedBatching:
    """How requests of different sizes share a run."""

    #: Inputs that the graph takes in one dimension, of all requests one after the other.
    inputs: frozenset[str]
    batch_inputs: tuple[BatchInput, ...]
    batch_outputs: Mapping[str, BatchOutput]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """One input; `dims` and `graph_dims` are without the batch dimension."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    #: What the graph takes, where config.pbtxt reshapes; else the same as `dims`.
    graph_dims: tuple[int, ...]
    optional: bool = False
    #: How it encodes an image, if the configuration says so: it takes files of pictures as well.
    image: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """One output; `dims` and `graph_dims` are without the batch dimension."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    graph_dims: tuple[int, ...]
    #: One a class, or empty.
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpInput:
    """One input of a sample that is run before a version is ready."""

    name: str
    datatype: DataType
    #: As clients send it, without the batch dimension; none is variable.
    dims: tuple[int, ...]
    #: The data: random, or a file's in the model's folder of warm-up data, else zeros.
    random: bool = False
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """A sample that is run before a version is ready."""

    name: str
    #: How often its one row is repeated in a run.
    batch_size: int
    #: How often it is run.
    count: int
    inputs: tuple[WarmUpInput, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """A model in a process of its own."""

    #: The private memory that the process may take, 0 without limit.
    memory_bytes: int = 0


class GraphOptimization(StrEnum):
    """How far onnxruntime rewrites a graph before it runs it."""

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


class Placement(StrEnum):
    """What a model is to run on (instance_group's kind)."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """An execution provider that a model asks for, with onnxruntime's options for it."""

    #: As --provider names it.
    name: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How onnxruntime is to run a model."""

    #: Threads within a node; 0 leaves the number to the server.
    threads: int = 0
    #: Threads across nodes, where they run in parallel; 0 as many as within a node.
    inter_op_threads: int = 0
    parallel: bool = False
    optimization: GraphOptimization = GraphOptimization.ALL
    #: Whether memory is kept from one run to the next, and laid out by what earlier runs took.
    arena: bool = True
    pattern: bool = True
    #: The devices whose kept memory is given back after each run: "cpu:0;gpu:0".
    shrinks: str = ""
    #: onnxruntime's session entries, by name.
    entries: tuple[tuple[str, str], ...] = ()
    #: Options of the CUDA provider that stand outside of an accelerator.
    cuda: tuple[tuple[str, str], ...] = ()
    #: The first has the first choice of nodes.
    accelerators: tuple[Accelerator, ...] = ()
    placement: Placement = Placement.AUTO
    #: The number of the GPU.
    device: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTraits:
    """What is known of a graph's runs from its operators."""

    #: An operator that ends the process on tensors without elements; "" if there is none.
    ends_on_empty: str = ""
    #: A node that may end the process on some data, named; "" if there is none.
    ends_on_data: str = ""
    #: An operator whose size or repetitions the data decides, and with it the time; "" for none.
    open_ended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleStep:
    """A model that an ensemble runs, and which of the ensemble's tensors it takes and makes."""

    model: str
    #: "" for the latest one.
    version: str
    #: The ensemble's tensor by the model's own name for it.
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One version of one model."""

    name: str
    version: int
    platform: str
    #: 0: shapes are compared whole; else dimension 0 of every tensor is the batch, up to this.
    max_batch_size: int
    inputs: tuple[InputSettings, ...]
    outputs: tuple[OutputSettings, ...]
    batching: Batching
    #: None for a model whose requests stand alone.
    sequences: Sequences | None = None
    #: None for a model whose requests must be alike to share a run.
    ragged: RaggedBatching | None = None
    #: Whether its answers are kept in the response cache, where the server has one.
    response_cache: bool = False
    #: The completed ModelConfig, serialised, as ModelConfig answers it.
    config: bytes
    #: Names that callers may use for a version (TensorFlow Serving's version_label).
    version_labels: Mapping[str, int] = field(default_factory=dict)


def reshape_dims(
    actual: tuple[int, ...], dims: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...]:
    """Return `target` with its variable dimensions filled from those of `dims`, in order.

    `actual` is a shape that fits `dims`; the k-th variable dimension of the one is that of the other.
    """
    sizes = iter([size for size, dim in zip(actual, dims, strict=True) if dim == VARIABLE])
    return tuple(next(sizes) if dim == VARIABLE else dim for dim in target)
