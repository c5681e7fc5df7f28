"""The bounds of every number in config.pbtxt, checked before anything is made of it.

A number may cost memory or time once it is used: levels are queues, counts are threads, a delay is a
wait. The table covers every numeric field of ModelConfig (tests/server/repository/test_bounds.py), so
that a field which is added needs a row.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from zoo_server.errors import ModelLoadError
from zoo_server.repository import layout

#: Microseconds of a day: nothing waits for longer.
_DAY = 86_400 * 10**6

#: Elements of one dimension; the tensor's size is checked where the graph is known.
_DIMENSION = (-1, 2**40)

#: Of a field that is not acted upon: whatever its type holds.
_ANY = (-math.inf, math.inf)

#: Smallest and largest value of each numeric field, by the name of its message and its own.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "ModelConfig.max_batch_size": (0, 2**31 - 1),
    "Latest.num_versions": (0, 2**31 - 1),
    "Specific.versions": (1, 10**18 - 1),
    "ModelInput.dims": _DIMENSION,
    "ModelOutput.dims": _DIMENSION,
    "ModelTensorReshape.shape": _DIMENSION,
    "ModelInstanceGroup.count": (0, 256),
    "ModelInstanceGroup.gpus": _ANY,
    "SecondaryDevice.device_id": _ANY,
    "Resource.count": (0, 2**32 - 1),
    "ModelRateLimiter.priority": (0, 2**32 - 1),
    "ModelDynamicBatching.preferred_batch_size": (1, 2**31 - 1),
    "ModelDynamicBatching.max_queue_delay_microseconds": (0, _DAY),
    "ModelDynamicBatching.priority_levels": (0, 1000),
    "ModelDynamicBatching.default_priority_level": (0, 1000),
    "ModelDynamicBatching.priority_queue_policy": (1, 1000),
    "ModelQueuePolicy.default_timeout_microseconds": (0, _DAY),
    "ModelQueuePolicy.max_queue_size": (0, 2**32 - 1),
    "ModelSequenceBatching.max_sequence_idle_microseconds": (0, _DAY),
    "StrategyDirect.max_queue_delay_microseconds": (0, _DAY),
    "StrategyDirect.minimum_slot_utilization": (0, 1),
    "StrategyOldest.max_queue_delay_microseconds": (0, _DAY),
    "StrategyOldest.max_candidate_sequences": (0, 2**20),
    "StrategyOldest.preferred_batch_size": (1, 2**31 - 1),
    "Control.int32_false_true": (-(2**31), 2**31 - 1),
    "Control.fp32_false_true": (-3.5e38, 3.5e38),
    "State.dims": _DIMENSION,
    "InitialState.dims": _DIMENSION,
    "ModelWarmup.batch_size": (0, 2**31 - 1),
    "ModelWarmup.count": (0, 10_000),
    "ModelWarmup.Input.dims": _DIMENSION,
    "Graph.level": (-(2**31), 2**31 - 1),
    "LowerBound.batch_size": _ANY,
    "GraphSpec.batch_size": _ANY,
    "Shape.dim": _ANY,
    "ModelOptimizationPolicy.gather_kernel_buffer_threshold": _ANY,
    "Step.model_version": (-1, 10**18 - 1),
    "ModelEnsembling.max_inflight_requests": (0, 2**32 - 1),
    "HistogramOptions.buckets": _ANY,
}

_NUMBERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
        FieldDescriptor.CPPTYPE_FLOAT,
        FieldDescriptor.CPPTYPE_DOUBLE,
    }
)


def row_name(field: FieldDescriptor) -> str:
    """Return the name of a field's row in BOUNDS."""
    full = ".".join(field.full_name.split(".")[-2:])
    # ModelWarmup has an Input of its own; others of that name have no numbers.
    return f"ModelWarmup.{full}" if full == "Input.dims" else full


def is_number(field: FieldDescriptor) -> bool:
    """Tell whether a field holds numbers, or is a map with numbers for keys."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return field.message_type.fields_by_name["key"].cpp_type in _NUMBERS
    return field.cpp_type in _NUMBERS


def check_bounds(message: Message) -> None:
    """Check every number that is set, at any depth; ModelLoadError names the first bad one."""
    for field, value in message.ListFields():
        if is_number(field):
            low, high = BOUNDS[row_name(field)]
            for number in _elements(field, value):
                # Written so that NaN lies in no interval but the open one.
                if (low, high) != _ANY and not low <= number <= high:
                    raise ModelLoadError(
                        f"{layout.CONFIG_FILE} gives {field.name} {number:.20g}: it must lie in "
                        f"{low} to {high}"
                    )
        for part in _messages(field, value):
            check_bounds(part)


def _elements(field: FieldDescriptor, value: Any) -> Iterable[float]:
    """Return a field's numbers; a map's are its keys."""
    return value if field.is_repeated else (value,)


def _messages(field: FieldDescriptor, value: Any) -> Iterable[Message]:
    """Return the messages that a field holds."""
    if field.message_type is None:
        return ()
    if field.message_type.GetOptions().map_entry:
        holds_messages = field.message_type.fields_by_name["value"].message_type is not None
        return list(value.values()) if holds_messages else ()
    return value if field.is_repeated else (value,)
