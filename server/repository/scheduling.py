"""What config.pbtxt says of scheduling: dynamic_batching, instance_group and thread counts.

The names and meanings are Triton's; what cannot be meant is refused at load, not at run.
"""

from typing import Any

from server.batching import Batching, QueuePolicy
from server.errors import ModelLoadError

#: The name of Triton's onnxruntime backend for a session's threads.
THREADS_PARAMETER = "intra_op_thread_count"

_MAX_INSTANCES = 256


def batching_settings(config: Any) -> Batching:
    """Return how a model's requests become runs; ModelLoadError for values that contradict."""
    instances = _instances(config)
    rows = max(1, config.max_batch_size)
    if not config.HasField("dynamic_batching"):
        return Batching(max_rows=rows, instances=instances)
    dynamic = config.dynamic_batching
    preferred = frozenset(dynamic.preferred_batch_size)
    if any(not 1 <= size <= rows for size in preferred):
        raise ModelLoadError(
            f"dynamic batching preferred size must be 1 to max_batch_size {rows}, got "
            f"{sorted(preferred)}"
        )
    levels, default = dynamic.priority_levels, dynamic.default_priority_level
    if levels and not 1 <= default <= levels:
        raise ModelLoadError(
            f"default_priority_level must be 1 to priority_levels {levels}, got {default}"
        )
    strange = [level for level in dynamic.priority_queue_policy if not 1 <= level <= levels]
    if strange:
        raise ModelLoadError(f"priority_queue_policy names level {strange[0]} of {levels}")
    return Batching(
        max_rows=rows,
        joins=config.max_batch_size > 0,
        preferred=preferred,
        delay_ns=dynamic.max_queue_delay_microseconds * 1000,
        preserves_order=dynamic.preserve_ordering,
        levels=levels,
        default_level=default,
        default_policy=_policy(dynamic.default_queue_policy),
        policies={
            level: _policy(policy) for level, policy in dynamic.priority_queue_policy.items()
        },
        instances=instances,
    )


def threads_of(config: Any) -> int:
    """Return the threads asked for in `parameters`, 0 for the server's choice."""
    if THREADS_PARAMETER not in config.parameters:
        return 0
    text = config.parameters[THREADS_PARAMETER].string_value
    if not (text.isascii() and text.isdigit() and int(text[:5]) < 4096):
        raise ModelLoadError(f"parameter {THREADS_PARAMETER} is '{text[:40]}', not 0 to 4095")
    return int(text)


def _policy(policy: Any) -> QueuePolicy:
    return QueuePolicy(
        timeout_ns=policy.default_timeout_microseconds * 1000,
        rejects=policy.timeout_action == type(policy).REJECT,
        allows_override=policy.allow_timeout_override,
        max_size=policy.max_queue_size,
    )


def _instances(config: Any) -> int:
    """Return the sum of the groups' counts; a group without one, or no group, has one."""
    total = sum(max(1, group.count) for group in config.instance_group)
    if total > _MAX_INSTANCES or any(group.count < 0 for group in config.instance_group):
        raise ModelLoadError(f"instance_group counts must be 1 to {_MAX_INSTANCES} in all")
    return max(1, int(total))
