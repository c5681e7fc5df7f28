"""What TensorFlow Serving calls servables: versions, labels, the one signature, states; for gRPC and REST.

The messages' stems are upstream's (model_servers/server_core.cc, get_model_status_impl.cc).
"""

from typing import NoReturn, cast

from zoo_proto import tensorflow_error_codes_pb2 as codes
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest, ModelNotReady, NotFound, Unsupported
from zoo_server.inference.model import LoadedModel
from zoo_server.model_config import InputSettings, ModelSettings, OutputSettings
from zoo_server.models.catalog import CatalogEntry, ModelState
from zoo_server.models.entries import UNLOADED

#: A model's only signature: its inputs and outputs under their own names.
SIGNATURE = "serving_default"

METHOD_NAME = "tensorflow/serving/predict"

#: What each RPC that is refused should be replaced by.
_INSTEAD = {
    "Classify": "call Predict with tensors, or ModelInfer with the output parameter "
    "'classification' for labels",
    "Regress": "call Predict with tensors",
    "MultiInference": "call Predict with tensors: it answers every output",
    "HandleReloadConfigRequest": "models come from the repository: call RepositoryModelLoad and "
    "RepositoryModelUnload of inference.GRPCInferenceService",
}

_State = pb.ModelVersionStatus.State

_STATES = {
    ModelState.READY: _State.AVAILABLE,
    ModelState.LOADING: _State.LOADING,
    ModelState.UNLOADING: _State.UNLOADING,
    ModelState.UNAVAILABLE: _State.END,
    ModelState.UNKNOWN: _State.START,
}


def find(dataplane: DataPlane, spec: pb.ModelSpec) -> LoadedModel:
    """Return the version asked for; NotFound if it is not served, for whatever reason (1c)."""
    if not spec.name:
        raise InvalidRequest("ModelSpec has no name specified.")
    number = _version(dataplane, spec)
    servable = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
    if number is not None and number < 0:
        raise NotFound(f"Servable not found for request: {servable}")
    try:
        return dataplane.find(spec.name, "" if number is None else str(number))
    except (NotFound, ModelNotReady, Unsupported) as error:
        raise NotFound(f"Servable not found for request: {servable}: {error}") from None


def _version(dataplane: DataPlane, spec: pb.ModelSpec) -> int | None:
    choice = spec.WhichOneof("version_choice")
    if choice is None:
        return None
    if choice == "version":
        return spec.version.value
    label = spec.version_label
    for model in reversed(dataplane.ready_versions(spec.name)):
        if label in model.settings.version_labels:
            return model.settings.version_labels[label]
    if label.isascii() and label.isdigit() and len(label) < 19:
        return int(label)
    raise InvalidRequest(f"Unrecognized servable version label: {label}")


def model_spec(model: LoadedModel, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model.settings.name, signature_name=signature)
    spec.version.value = model.settings.version
    return spec


def statuses(dataplane: DataPlane, spec: pb.ModelSpec) -> pb.GetModelStatusResponse:
    """Return the state of every version; NotFound if there is none.

    As upstream, a version narrows the answer and a version label does not.
    """
    entries = dataplane.entries(spec.name)
    states = [_status(entry) for entry in reversed(entries) if entry.version is not None]
    if spec.HasField("version"):
        states = [state for state in states if state.version == spec.version.value]
        if not states:
            raise NotFound(f"Could not find version {spec.version.value} of model {spec.name}")
    if not states:
        reasons = "".join(f": {entry.reason}" for entry in entries)
        raise NotFound(f"Could not find any versions of model {spec.name}{reasons}")
    return pb.GetModelStatusResponse(model_version_status=states)


def signatures(settings: ModelSettings) -> pb.SignatureDefMap:
    """Return a model's signatures by name, of which there is one."""
    return pb.SignatureDefMap(signature_def={SIGNATURE: _signature(settings)})


def _signature(settings: ModelSettings) -> tf.SignatureDef:
    return tf.SignatureDef(
        method_name=METHOD_NAME,
        inputs={tensor.name: _info(tensor, settings) for tensor in settings.inputs},
        outputs={tensor.name: _info(tensor, settings) for tensor in settings.outputs},
    )


def _info(tensor: InputSettings | OutputSettings, settings: ModelSettings) -> tf.TensorInfo:
    """The batch is -1: without it perf_analyzer takes no `-b` (docs/protocol.md 2.5)."""
    sizes = ([VARIABLE] if settings.max_batch_size else []) + list(tensor.dims)
    return tf.TensorInfo(
        name=tensor.name,
        dtype=cast("tf.DataType", tensor.datatype.tf_enum),
        tensor_shape=tf.TensorShapeProto(
            dim=[tf.TensorShapeProto.Dim(size=size) for size in sizes]
        ),
    )


def _status(entry: CatalogEntry) -> pb.ModelVersionStatus:
    state = _STATES[entry.state]
    failed = state == _State.END and entry.reason != UNLOADED
    return pb.ModelVersionStatus(
        version=entry.version,
        state=state,
        status=pb.StatusProto(
            error_code=codes.INTERNAL if failed else codes.OK,
            error_message=entry.reason if failed else "",
        ),
    )


def refuse(method: str) -> NoReturn:
    """Unsupported, with what to call instead."""
    raise Unsupported(f"{method} is not served: {_INSTEAD[method]}")
