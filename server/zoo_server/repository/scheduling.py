"""The scheduling part of config.pbtxt: batching, instances and isolation; sequences are in sequences.py.

The names and meanings are Triton's; what cannot be meant is refused at load, not at run.
"""

from dataclasses import replace

from zoo_proto import model_config_pb2
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import (
    Batching,
    InstanceLimit,
    Isolation,
    QueuePolicy,
    Resource,
)

ModelConfig = model_config_pb2.ModelConfig

#: Ours; Triton passes unknown parameters on to the backend, which ignores them.
ISOLATION_PARAMETER, MEMORY_PARAMETER = "isolation", "isolation_memory_mb"

_MAX_MEMORY_MB = 1 << 22

_MAX_INSTANCES = 256

_MAX_RESOURCES = 64


def batching_settings(config: ModelConfig) -> Batching:
    """Return how a model's requests become runs; ModelLoadError for values that contradict."""
    instances, limits = instances_of(config), _limits(config)
    rows = max(1, config.max_batch_size)
    if config.HasField("sequence_batching"):
        return replace(_of_sequences(config, rows, instances), limits=limits)
    if not config.HasField("dynamic_batching"):
        return Batching(max_rows=rows, instances=instances, limits=limits)
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
        limits=limits,
    )


def isolation_of(config: ModelConfig) -> Isolation | None:
    """Return the process of its own that `parameters` ask for, None for the server's.

    ModelLoadError for what is none.
    """
    if ISOLATION_PARAMETER not in config.parameters:
        return None
    kind = config.parameters[ISOLATION_PARAMETER].string_value
    if kind != "process":
        raise ModelLoadError(f"parameter {ISOLATION_PARAMETER} is '{kind[:40]}', not process")
    if MEMORY_PARAMETER not in config.parameters:
        return Isolation()
    text = config.parameters[MEMORY_PARAMETER].string_value
    if not (text.isascii() and text.isdigit() and 0 < int(text[:8]) <= _MAX_MEMORY_MB):
        raise ModelLoadError(
            f"parameter {MEMORY_PARAMETER} is '{text[:40]}', not 1 to {_MAX_MEMORY_MB}"
        )
    return Isolation(memory_bytes=int(text) << 20)


def _policy(policy: model_config_pb2.ModelQueuePolicy) -> QueuePolicy:
    return QueuePolicy(
        timeout_ns=policy.default_timeout_microseconds * 1000,
        rejects=policy.timeout_action == type(policy).REJECT,
        allows_override=policy.allow_timeout_override,
        max_size=policy.max_queue_size,
    )


def instances_of(config: ModelConfig) -> int:
    """Return the sum of the groups' counts; a group without one, or no group, has one."""
    total = sum(max(1, group.count) for group in config.instance_group)
    if total > _MAX_INSTANCES or any(group.count < 0 for group in config.instance_group):
        raise ModelLoadError(f"instance_group counts must be 1 to {_MAX_INSTANCES} in all")
    return max(1, int(total))


def _limits(config: ModelConfig) -> tuple[InstanceLimit, ...]:
    """Return what each instance needs, and its priority; empty where no group says anything."""
    groups = config.instance_group
    if not any(group.HasField("rate_limiter") for group in groups):
        return ()
    limits = []
    for group in groups:
        limiter = group.rate_limiter
        names = [resource.name.lower() for resource in limiter.resources]
        if len(names) > _MAX_RESOURCES or len(set(names)) < len(names) or not all(names):
            raise ModelLoadError(
                f"rate_limiter lists {names[:8]}: each resource once, by its name, and at most "
                f"{_MAX_RESOURCES}"
            )
        limit = InstanceLimit(
            resources=tuple(
                Resource(
                    name=resource.name, count=resource.count, is_global=getattr(resource, "global")
                )
                for resource in limiter.resources
            ),
            priority=limiter.priority,
            device=group.gpus[0] if group.gpus else 0,
        )
        limits += [limit] * max(1, group.count)
    return tuple(limits)


def _of_sequences(config: ModelConfig, rows: int, instances: int) -> Batching:
    """Direct and oldest: both join requests of different sequences, and answer the same."""
    written = config.sequence_batching
    chosen = written.oldest if written.HasField("oldest") else written.direct
    return Batching(
        max_rows=rows,
        joins=config.max_batch_size > 0,
        preferred=frozenset(getattr(chosen, "preferred_batch_size", ())),
        delay_ns=chosen.max_queue_delay_microseconds * 1000,
        preserves_order=getattr(chosen, "preserve_ordering", False),
        instances=instances,
    )
