"""Writes docs/configuration.md from the server's option table and from the fields of ModelConfig.

`python docs/reference.py` writes the page; with `--check` it only says whether the page is what would be
written. Each field of config.pbtxt has a row: one that is added to the protocol needs words here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from zoo_proto import model_config_pb2
from zoo_server import options
from zoo_server.config import ServerConfig
from zoo_server.repository.bounds import BOUNDS, is_number, row_name

PAGE = Path(__file__).with_name("configuration.md")

IDLE, REFUSED = "accepted, without effect", "refused"

#: What a field does here, by its path in config.pbtxt; a path speaks for all that lies below it.
MEANINGS: Mapping[str, str] = {
    "name": "the folder's name, or left out",
    "platform": "`onnxruntime_onnx`, or `ensemble`",
    "backend": "`onnxruntime`, or left out",
    "runtime": IDLE,
    "version_policy.latest": "serve the newest versions, one by default",
    "version_policy.all": "serve every version",
    "version_policy.specific": "serve these versions",
    "max_batch_size": "rows of one run; 0: the graph has no batch dimension",
    "input.name": "a name of the graph",
    "input.data_type": "must be the graph's",
    "input.format": IDLE,
    "input.dims": "without the batch; -1 is any size",
    "input.reshape": "the shape that the graph takes",
    "input.is_shape_tensor": REFUSED,
    "input.allow_ragged_batch": "the graph takes the elements of all requests in one dimension",
    "input.optional": "a request may leave it out",
    "input.is_non_linear_format_io": IDLE,
    "output.name": "a name of the graph",
    "output.data_type": "must be the graph's",
    "output.dims": "without the batch; -1 is any size",
    "output.reshape": "the shape that the graph gives",
    "output.label_filename": "a file of the model's folder, one class a line",
    "output.is_shape_tensor": REFUSED,
    "output.is_non_linear_format_io": IDLE,
    "batch_input": "inputs that tell the graph which elements are whose; every kind, TYPE_INT32 or TYPE_FP32",
    "batch_output": "outputs that are split by the shapes of an input",
    "optimization.graph.level": "-1 basic, 1 extended, 2 none, 0 all",
    "optimization.execution_accelerators": "execution providers with their options",
    "optimization": IDLE,
    "dynamic_batching.preferred_batch_size": "rows that are run as soon as they wait",
    "dynamic_batching.max_queue_delay_microseconds": "how long a request may wait for others",
    "dynamic_batching.preserve_ordering": "answers leave in the order of the requests",
    "dynamic_batching.priority_levels": "priorities; 1 is the highest",
    "dynamic_batching.default_priority_level": "of requests that name none",
    "dynamic_batching.default_queue_policy.timeout_action": "REJECT, or DELAY: behind the others",
    "dynamic_batching.default_queue_policy.default_timeout_microseconds": "time in the queue",
    "dynamic_batching.default_queue_policy.allow_timeout_override": "a request may shorten it",
    "dynamic_batching.default_queue_policy.max_queue_size": "requests that may wait",
    "dynamic_batching.priority_queue_policy": "the same for single levels",
    "sequence_batching.direct.max_queue_delay_microseconds": "how long a step may wait for others",
    "sequence_batching.direct.minimum_slot_utilization": IDLE,
    "sequence_batching.oldest.max_candidate_sequences": "sequences that are live at once",
    "sequence_batching.oldest.preferred_batch_size": "rows that are run as soon as they wait",
    "sequence_batching.oldest.max_queue_delay_microseconds": "how long a step may wait for others",
    "sequence_batching.oldest.preserve_ordering": "answers leave in the order of the requests",
    "sequence_batching.max_sequence_idle_microseconds": "a silent sequence ends; 0 is one second",
    "sequence_batching.control_input": "an input that the server fills: START, END, READY, CORRID",
    "sequence_batching.state.input_name": "the input that gets what the last step gave; zeros at first",
    "sequence_batching.state.output_name": "the output that is kept for the next step",
    "sequence_batching.state.data_type": "must be the graph's",
    "sequence_batching.state.dims": "without the batch; -1 begins as 1 unless `initial_state` has its size",
    "sequence_batching.state.initial_state.data_file": REFUSED,
    "sequence_batching.state.initial_state.dims": "what a sequence begins with; 0 is empty",
    "sequence_batching.state.initial_state": IDLE + ": a state begins as zeros",
    "sequence_batching.state.use_same_buffer_for_input_output": IDLE,
    "sequence_batching.state.use_growable_memory": IDLE,
    "sequence_batching.iterative_sequence": REFUSED,
    "ensemble_scheduling.step.model_namespace": IDLE,
    "ensemble_scheduling.step.model_name": "a model of the repository",
    "ensemble_scheduling.step.model_version": "-1 is the newest one",
    "ensemble_scheduling.step.input_map": "from the model's inputs to tensors of the ensemble",
    "ensemble_scheduling.step.output_map": "from the model's outputs to tensors of the ensemble",
    "ensemble_scheduling.max_inflight_requests": REFUSED,
    "instance_group.kind": "KIND_CPU, KIND_GPU, or the choice of `--provider`",
    "instance_group.count": "runs at once, 256 at most in all groups",
    "instance_group.gpus": "the number of the one GPU",
    "instance_group.rate_limiter": "what an instance needs while it runs, with `--rate-limit execution_count`",
    "instance_group": IDLE,
    "default_model_filename": "the file of the version folder, `model.onnx` by default",
    "cc_model_filenames": IDLE,
    "metric_tags": IDLE,
    "parameters": "onnxruntime's settings, `version_labels`, `image`, `isolation`; others pass",
    "model_warmup": "samples that run before a version is ready",
    "model_operations": REFUSED,
    "model_transaction_policy.decoupled": REFUSED,
    "model_repository_agents": REFUSED,
    "response_cache": "keep answers, with `--cache-config`",
    "model_metrics": IDLE,
}

HEAD = """# Configuration

The options of `zoo serve`, and the fields of a model's `config.pbtxt`. This page is generated by
`python docs/reference.py` from the tables that the server itself reads.

## Options of the server

An option on the command line goes before its environment variable, and that before the default. A switch is
turned off by `--no-…`, and its variable takes 1 or 0; a list in a variable has commas.

"""

FIELDS = """
## Fields of config.pbtxt

Meanings are Triton's; [compatibility.md](compatibility.md#configpbtxt) has the differences, with their tests, and
the names of onnxruntime's settings. A number outside of its bounds is a load error. "Refused" means that a model
with the field is not loaded, and says why. Without `config.pbtxt` the configuration is derived from the graph.

"""


def page() -> str:
    """Return the whole page."""
    return HEAD + _options() + FIELDS + _config()


def _options() -> str:
    lines = [
        "| option | environment | default | values | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row, option in options.rows(ServerConfig):
        cells = (
            f"`{options.flag(row.name)}`",
            f"`{options.variable(row.name)}`",
            options.default_text(row.default),
            _values(option, is_list=isinstance(row.default, tuple)),
            option.help,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _values(option: options.Option, *, is_list: bool) -> str:
    """Return what an option takes: its choices, its bounds, or its placeholder."""
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.low is not None:
        return f"{option.low} to {option.high}"
    return f"{option.arguments.get('metavar', 'switch')}{', repeatable' if is_list else ''}"


def _config() -> str:
    lines = ["| field | type | bounds | here |", "| --- | --- | --- | --- |"]
    used = set()
    for path, field in _leaves(model_config_pb2.ModelConfig.DESCRIPTOR):
        key = max(
            (key for key in MEANINGS if f"{path}.".startswith(f"{key}.")), key=len, default=""
        )
        if not key:
            raise SystemExit(f"{path} is a field of config.pbtxt without a meaning in {__file__}")
        used.add(key)
        lines.append(f"| `{path}` | {_type(field)} | {_bounds(field)} | {MEANINGS[key]} |")
    if unused := MEANINGS.keys() - used:
        raise SystemExit(f"no fields of config.pbtxt: {', '.join(sorted(unused))}")
    return "\n".join(lines) + "\n"


def _leaves(message: Descriptor, above: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """Yield the fields of a message; those that are messages in turn where a row speaks of a part."""
    for field in message.fields:
        path = f"{above}{field.name}"
        parts = any(key.startswith(f"{path}.") for key in MEANINGS)
        if field.message_type is not None and parts:
            yield from _leaves(field.message_type, f"{path}.")
        else:
            yield path, field


def _type(field: FieldDescriptor) -> str:
    kinds = {
        value: name[5:].lower()
        for name, value in vars(FieldDescriptor).items()
        if name.startswith("TYPE_")
    }
    kind = field.message_type or field.enum_type
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return "map"
    name = kind.name if kind is not None else kinds[field.type]
    return f"{name}, repeated" if field.is_repeated else name


def _bounds(field: FieldDescriptor) -> str:
    if not is_number(field):
        return ""
    low, high = BOUNDS[row_name(field)]
    return "" if math.isinf(high) else f"{low:,} to {high:,}"


def main(arguments: list[str]) -> int:
    """Write the page; with --check only say whether it is what would be written."""
    written = page()
    stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != written
    if stale and "--check" not in arguments:
        PAGE.write_text(written, encoding="utf-8")
    print(f"{'stale' if '--check' in arguments else 'written'}: {PAGE.name if stale else 'none'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
