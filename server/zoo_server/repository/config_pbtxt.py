"""Reads config.pbtxt: refuses unsupported features, selects versions, reads labels.

Everything here needs no graph; server/zoo_server/repository/autocomplete.py brings the two together.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from zoo_proto import model_config_pb2
from zoo_server.errors import DecoupledModel, ModelLoadError, NoVersion
from zoo_server.repository import layout
from zoo_server.repository.bounds import check_bounds
from zoo_server.repository.ragged import is_ragged
from zoo_server.repository.scan import ModelFiles

BACKEND = "onnxruntime"
PLATFORM = "onnxruntime_onnx"

#: The platform of a model that is made of others (server/zoo_server/repository/ensembles.py).
ENSEMBLE = "ensemble"

#: As written in config.pbtxt; callers outside this room pass it on and do not look inside.
ModelConfig = model_config_pb2.ModelConfig

#: The parameter that names versions: `parameters { key: "version_labels" value { string_value:
#: "stable=1,canary=2" } }`. Triton has no such names and passes the parameter over.
VERSION_LABELS = "version_labels"

#: Of configurations: the largest that Triton's own tests hold take a hundredth of it.
MAX_CONFIG_BYTES = 1 << 20

#: The most that a protobuf message can be; larger weights lie in files of external data.
MAX_GRAPH_BYTES = 2**31 - 1

#: A class list longer than this is a mistake (or an attack), not labels.
MAX_LABEL_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """A configuration as written; None where there is none."""

    config: ModelConfig | None = None
    #: Whether the text itself speaks of max_batch_size: proto3 cannot tell 0 from absent.
    batching: bool = False


def read(files: ModelFiles) -> Written:
    """Return a model's configuration as written.

    ModelLoadError says where the file is wrong or which setting this server does not offer.
    """
    if files.config_json is not None:
        written = _from_json(files.config_json)
    elif files.config_file is not None:
        written = _from_file(files)
    else:
        return Written()
    assert written.config is not None
    _check(written.config.name if files.renamed else files.name, written.config)
    return written


def _from_json(text: str) -> Written:
    """Read ModelConfig's JSON, in which numbers may be strings (docs/protocol.md 2.1)."""
    from google.protobuf import json_format  # few need it, and it is slow to import

    config = ModelConfig()
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        json_format.ParseDict(values, config)
    except (json_format.ParseError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())[:500]
        raise ModelLoadError(f"Invalid config override: {detail}") from None
    return Written(config, not {"max_batch_size", "maxBatchSize"}.isdisjoint(values))


def _from_file(files: ModelFiles) -> Written:
    assert files.config_file is not None
    text = files.confinement.read_text(files.config_file, layout.CONFIG_FILE, MAX_CONFIG_BYTES)
    config = ModelConfig()
    try:
        text_format.Parse(text, config)
    except (text_format.ParseError, RecursionError, ValueError) as error:
        detail = " ".join(str(error).split())[:500]
        raise ModelLoadError(f"{layout.CONFIG_FILE} does not parse: {detail}") from None
    mentioned = re.search(r"^[^#\n]*\bmax_batch_size\b", text, re.MULTILINE) is not None
    return Written(config, mentioned)


def _check(name: str, config: ModelConfig) -> None:
    """Refuse what cannot be served; ModelLoadError names the first."""
    for refused, reason in _refusals(name, config):
        if refused:
            raise ModelLoadError(reason)
    if config.model_transaction_policy.decoupled:
        raise DecoupledModel(
            "decoupled models are not served: an ONNX graph answers once a request"
        )
    _check_tensors(config)
    check_bounds(config)


def _refusals(name: str, config: ModelConfig) -> tuple[tuple[object, str], ...]:
    """Return a row for each feature that is refused: whether it is there, and what to say."""
    file = layout.CONFIG_FILE
    return (
        (
            config.name and config.name != name,
            f"{file} names the model '{config.name}', but its folder is '{name}'",
        ),
        (
            config.HasField("ensemble_scheduling") != (config.platform == ENSEMBLE),
            f"platform '{config.platform}': ensemble_scheduling and platform '{ENSEMBLE}' go together",
        ),
        (
            config.backend not in ("", BACKEND),
            f"backend '{config.backend}' is not served; only '{BACKEND}' is",
        ),
        (
            config.platform == ENSEMBLE and config.backend,
            f"backend '{config.backend}' is given for an ensemble, which has none",
        ),
        (
            config.platform not in ("", PLATFORM, BACKEND, ENSEMBLE),
            f"unexpected platform type '{config.platform}'; only '{PLATFORM}' is served",
        ),
        (
            config.sequence_batching.iterative_sequence,
            "iterative_sequence is not served: an ONNX graph answers once a request",
        ),
        (
            config.response_cache.enable and config.HasField("sequence_batching"),
            f"Response Cache does not currently support model {name} with sequence batching "
            "scheduler. Please disable the response cache.",
        ),
        (
            config.platform == ENSEMBLE and is_ragged(config),
            "allow_ragged_batch, batch_input and batch_output are not served for an ensemble: its models "
            "may have them",
        ),
        (
            config.model_operations.op_library_filename,
            "op_library_filename is not served: it would load native code from the repository",
        ),
        (
            config.model_repository_agents.agents,
            "model_repository_agents are not served",
        ),
        (
            not layout.is_plain_name(config.default_model_filename or layout.MODEL_FILE),
            f"default_model_filename '{config.default_model_filename}' is not a plain file name",
        ),
        (
            any(tensor.is_shape_tensor for tensor in config.input)
            or any(tensor.is_shape_tensor for tensor in config.output),
            "shape tensors are a TensorRT feature and are not served",
        ),
    )


def _check_tensors(config: ModelConfig) -> None:
    lists: tuple[
        tuple[str, Iterable[model_config_pb2.ModelInput | model_config_pb2.ModelOutput]], ...
    ] = (("input", config.input), ("output", config.output))
    for kind, tensors in lists:
        seen: set[str] = set()
        for tensor in tensors:
            if not tensor.name:
                raise ModelLoadError(f"model {kind} must specify 'name'")
            if tensor.name in seen:
                raise ModelLoadError(f"model {kind} '{tensor.name}' is given twice")
            seen.add(tensor.name)
            if any(dim < 1 and dim != -1 for dim in (*tensor.dims, *tensor.reshape.shape)):
                raise ModelLoadError(
                    f"model {kind} '{tensor.name}' dimension must be integer >= 1, or -1 to "
                    f"indicate a variable-size dimension"
                )


def choose_versions(config: ModelConfig | None, available: Sequence[int]) -> list[int]:
    """Return the versions to serve, ascending: the latest one unless version_policy says otherwise.

    NoVersion if the policy names a version that is not there.
    """
    policy = config.version_policy if config is not None else model_config_pb2.ModelVersionPolicy()
    if policy.HasField("all"):
        return sorted(available)
    if policy.HasField("specific"):
        missing = sorted(set(policy.specific.versions) - set(available))
        if missing or not policy.specific.versions:
            have = ", ".join(map(str, available)) or "none"
            named = ", ".join(map(str, missing)) or "no version"
            raise NoVersion(f"version_policy asks for {named}; on disk: {have}")
        return sorted(set(policy.specific.versions))
    count = policy.latest.num_versions or 1
    return sorted(available)[-count:]


def version_labels(config: ModelConfig) -> dict[str, int]:
    """Return the version that each label of the parameter VERSION_LABELS stands for.

    ModelLoadError if the text is not LABEL=VERSION pairs. That a version is loaded is not asked: it
    may be by the time that a caller names it.
    """
    text = (
        config.parameters[VERSION_LABELS].string_value
        if VERSION_LABELS in config.parameters
        else ""
    )
    labels: dict[str, int] = {}
    for pair in filter(None, (piece.strip() for piece in text.split(","))):
        label, _, version = (part.strip() for part in pair.partition("="))
        number = layout.version_number(version)
        # A number is a label already, its own (server/zoo_server/protocols/tfs/service.py).
        if number is None or not label or label.isdigit() or label in labels:
            raise ModelLoadError(
                f"parameter {VERSION_LABELS} has '{pair}': give each label once, as LABEL=VERSION, "
                "such as stable=1,canary=2"
            )
        labels[label] = number
    return labels


def model_file(files: ModelFiles, config: ModelConfig | None, version: int) -> Path:
    """Return where the graph of one version lies."""
    if files.file is not None:
        return files.file
    name = (config.default_model_filename if config is not None else "") or layout.MODEL_FILE
    return files.version_folder(version) / name


def read_labels(files: ModelFiles, filename: str) -> tuple[str, ...]:
    """Return a label file's lines, one class each; it must lie inside the model's folder.

    ModelLoadError for a path that leads out (docs/protocol.md 4.4) or a file that cannot be read.
    """
    path, what = Path(filename), f"label_filename '{filename[:300]}'"
    if path.is_absolute() or ".." in path.parts or "\0" in filename:
        raise ModelLoadError(f"{what} leads out of the model's folder")
    text = files.confinement.read_text(files.folder / path, what, MAX_LABEL_BYTES)
    return tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))
