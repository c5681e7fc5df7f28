"""tensorflow.serving: PredictionService and ModelService, for ONNX models and without TensorFlow.

One method an RPC, named like it. A model has one signature, `serving_default`: its inputs and
outputs under their own names. The rules are protocol.md 2.6 and 1c; the messages' stems are upstream's
(servables/tensorflow/predict_util.cc, get_model_metadata_impl.cc, model_servers/server_core.cc and
get_model_status_impl.cc).

A version label is a name that config.pbtxt gives to a version (its parameter `version_labels`), or
the version's number: perf_analyzer sends the number so.
"""

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message_factory import GetMessageClass
from zoo_proto import tensorflow_error_codes_pb2 as codes
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb

from server.api import tensorflow_tensors
from server.api.interceptor import guarded_unary
from server.errors import (
    InvalidRequest,
    ModelNotReady,
    NotFound,
    PreconditionFailed,
    Unsupported,
)
from server.inference.catalog import Catalog, CatalogEntry
from server.inference.messages import InferRequest, OutputRequest
from server.inference.model import LoadedModel
from server.repository.settings import InputSettings, ModelSettings, OutputSettings
from server.tensors import VARIABLE

SERVICES = tuple(pb.DESCRIPTOR.services_by_name.values())

SIGNATURE = "serving_default"
METHOD_NAME = "tensorflow/serving/predict"
SIGNATURE_DEF = "signature_def"

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

#: RepositoryIndex's word for a state -> ModelVersionStatus's.
_STATES = {
    "READY": _State.AVAILABLE,
    "LOADING": _State.LOADING,
    "UNLOADING": _State.UNLOADING,
    "UNAVAILABLE": _State.END,
}

#: Triton's reason for a version that is not there because somebody asked for it: no error.
_UNLOADED = "unloaded"


class TensorFlowServing:
    """The servicer of both services: plain functions from message to message."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def Predict(self, request: pb.PredictRequest) -> pb.PredictResponse:
        _check_model_spec(request)
        model = self._find(request.model_spec)
        signature = request.model_spec.signature_name or SIGNATURE
        if signature != SIGNATURE:
            raise PreconditionFailed(f'Serving signature key "{signature}" not found.')
        _check_inputs(request.inputs.keys(), model.settings)
        _check_outputs(request.output_filter, model.settings)
        answer = model.infer(
            InferRequest(
                id="",
                inputs=tuple(
                    tensorflow_tensors.decode(alias, tensor)
                    for alias, tensor in request.inputs.items()
                ),
                outputs=tuple(OutputRequest(name=alias) for alias in request.output_filter),
            )
        )
        response = pb.PredictResponse(model_spec=_model_spec(model, signature))
        for output in answer.outputs:
            tensorflow_tensors.encode(output, response.outputs[output.name])
        return response

    def GetModelMetadata(self, request: pb.GetModelMetadataRequest) -> pb.GetModelMetadataResponse:
        _check_model_spec(request)
        if not request.metadata_field:
            raise InvalidRequest("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise InvalidRequest(f"Metadata field {field} is not supported")
        model = self._find(request.model_spec)
        response = pb.GetModelMetadataResponse(model_spec=_model_spec(model))
        signatures = pb.SignatureDefMap(signature_def={SIGNATURE: _signature(model.settings)})
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def GetModelStatus(self, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
        """As upstream, a version narrows the answer and a version label does not."""
        _check_model_spec(request)
        spec = request.model_spec
        entries = [entry for entry in self._catalog.entries() if entry.name == spec.name]
        statuses = [_status(entry) for entry in reversed(entries) if entry.version is not None]
        if spec.HasField("version"):
            statuses = [status for status in statuses if status.version == spec.version.value]
            if not statuses:
                raise NotFound(f"Could not find version {spec.version.value} of model {spec.name}")
        if not statuses:
            reasons = "".join(f": {entry.reason}" for entry in entries)
            raise NotFound(f"Could not find any versions of model {spec.name}{reasons}")
        return pb.GetModelStatusResponse(model_version_status=statuses)

    def Classify(self, _: Any) -> NoReturn:
        _refuse("Classify")

    def Regress(self, _: Any) -> NoReturn:
        _refuse("Regress")

    def MultiInference(self, _: Any) -> NoReturn:
        _refuse("MultiInference")

    def HandleReloadConfigRequest(self, _: Any) -> NoReturn:
        _refuse("HandleReloadConfigRequest")

    def _find(self, spec: pb.ModelSpec) -> LoadedModel:
        """Return the version asked for; NotFound if it is not served, for whatever reason (1c)."""
        if not spec.name:
            raise InvalidRequest("ModelSpec has no name specified.")
        number = self._version(spec)
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        if number is not None and number < 0:
            raise NotFound(f"Servable not found for request: {asked}")
        try:
            return self._catalog.find(spec.name, "" if number is None else str(number))
        except (NotFound, ModelNotReady) as error:
            raise NotFound(f"Servable not found for request: {asked}: {error}") from None

    def _version(self, spec: pb.ModelSpec) -> int | None:
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            return None
        if choice == "version":
            return spec.version.value
        label = spec.version_label
        for model in reversed(self._catalog.ready_versions(spec.name)):
            if label in model.settings.version_labels:
                return model.settings.version_labels[label]
        if label.isascii() and label.isdigit() and len(label) < 19:
            return int(label)
        raise InvalidRequest(f"Unrecognized servable version label: {label}")


def tensorflow_handlers(
    servicer: TensorFlowServing, admission: AbstractContextManager[None]
) -> list[grpc.GenericRpcHandler]:
    """Return the handlers of both services, by the names in their descriptors."""
    return [
        grpc.method_handlers_generic_handler(
            service.full_name,
            {method.name: _handler(method, servicer, admission) for method in service.methods},
        )
        for service in SERVICES
    ]


def _handler(
    method: Any, servicer: TensorFlowServing, admission: AbstractContextManager[None]
) -> grpc.RpcMethodHandler:
    behaviour = guarded_unary(
        method.name, getattr(servicer, method.name), admission, GetMessageClass(method.input_type)
    )
    # server/transport/fast.py reads it: whatever does not wait for a model needs no thread.
    behaviour.in_place = method.name != "Predict"  # type: ignore[attr-defined]
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _check_model_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise InvalidRequest("Missing ModelSpec")


def _check_inputs(sent: Collection[str], settings: ModelSettings) -> None:
    """Upstream's two checks: how many there are, and that every one that must be there is."""
    known = {tensor.name for tensor in settings.inputs}
    optional = {tensor.name for tensor in settings.inputs if tensor.optional}
    missing = known - set(sent) - optional
    if len(sent) > len(known) or (len(sent) < len(known) and not optional):
        raise InvalidRequest(
            f"input size does not match signature: {len(sent)}!={len(known)} len({_names(sent)}) "
            f"!= len({_names(known)}). Sent extra: {_names(set(sent) - known)}. Missing but "
            f"required: {_names(missing)}."
        )
    if missing:
        alias = min(missing)
        raise InvalidRequest(
            f"Signature input alias: {alias}(feed name: {alias}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {_names(sent)}, or "
            f"default input alias set: {','.join(sorted(optional))}"
        )
    if not known.issuperset(sent):
        raise InvalidRequest(
            "Inputs contains invalid name. Used request inputs: "
            f"{','.join(sorted(known & set(sent)))}, request input: {','.join(sorted(sent))}"
        )


def _check_outputs(asked: Iterable[str], settings: ModelSettings) -> None:
    known = {tensor.name for tensor in settings.outputs}
    seen: set[str] = set()
    for alias in asked:
        if alias not in known:
            raise InvalidRequest(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {_names(known)}."
            )
        if alias in seen:
            raise InvalidRequest(f"duplicate output tensor alias: {alias}")
        seen.add(alias)


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _model_spec(model: LoadedModel, signature: str = "") -> pb.ModelSpec:
    spec = pb.ModelSpec(name=model.settings.name, signature_name=signature)
    spec.version.value = model.settings.version
    return spec


def _signature(settings: ModelSettings) -> tf.SignatureDef:
    return tf.SignatureDef(
        method_name=METHOD_NAME,
        inputs={tensor.name: _info(tensor, settings) for tensor in settings.inputs},
        outputs={tensor.name: _info(tensor, settings) for tensor in settings.outputs},
    )


def _info(tensor: InputSettings | OutputSettings, settings: ModelSettings) -> tf.TensorInfo:
    """The batch dimension is shown as -1, without which perf_analyzer takes no `-b` (2.5)."""
    sizes = ([VARIABLE] if settings.max_batch_size else []) + list(tensor.dims)
    return tf.TensorInfo(
        name=tensor.name,
        dtype=cast("tf.DataType", tensor.datatype.tf_enum),
        tensor_shape=tf.TensorShapeProto(
            dim=[tf.TensorShapeProto.Dim(size=size) for size in sizes]
        ),
    )


def _status(entry: CatalogEntry) -> pb.ModelVersionStatus:
    state = _STATES.get(entry.state.value, _State.UNKNOWN)
    failed = state == _State.END and entry.reason != _UNLOADED
    return pb.ModelVersionStatus(
        version=entry.version,
        state=state,
        status=pb.StatusProto(
            error_code=codes.INTERNAL if failed else codes.OK,
            error_message=entry.reason if failed else "",
        ),
    )


def _refuse(method: str) -> NoReturn:
    raise Unsupported(f"{method} is not served: {_INSTEAD[method]}")
