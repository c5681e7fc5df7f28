"""TensorFlow Serving's PredictionService and ModelService, for ONNX models.

One method an RPC, named like it. A model has one signature, `serving_default`: its inputs and
outputs under their own names. The rules are docs/protocol.md 2.6 and 1c; the messages' stems are
upstream's (servables/tensorflow/predict_util.cc, get_model_metadata_impl.cc,
model_servers/server_core.cc and get_model_status_impl.cc).

A version label is a name that config.pbtxt gives to a version (its parameter `version_labels`), or
the version's number: perf_analyzer sends the number so.
"""

from contextlib import AbstractContextManager
from typing import Any, NoReturn, cast

import grpc
from google.protobuf.message_factory import GetMessageClass

from zoo_proto import tensorflow_error_codes_pb2 as codes
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest, NotFound, Unsupported
from zoo_server.model_config import InputSettings, ModelSettings, OutputSettings
from zoo_server.models.catalog import CatalogEntry, ModelState
from zoo_server.models.entries import UNLOADED
from zoo_server.protocols.behaviour import Behaviour, burst_behaviour
from zoo_server.protocols.interceptor import guarded_unary
from zoo_server.protocols.tfs.predict import METHOD as PREDICT
from zoo_server.protocols.tfs.predict import (
    SIGNATURE,
    PredictPath,
    check_model_spec,
    find,
    model_spec,
)

SERVICES = tuple(pb.DESCRIPTOR.services_by_name.values())

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

_STATES = {
    ModelState.READY: _State.AVAILABLE,
    ModelState.LOADING: _State.LOADING,
    ModelState.UNLOADING: _State.UNLOADING,
    ModelState.UNAVAILABLE: _State.END,
    ModelState.UNKNOWN: _State.START,
}


class TensorFlowServing:
    """The servicer of both services: plain functions from message to message."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def GetModelMetadata(self, request: pb.GetModelMetadataRequest) -> pb.GetModelMetadataResponse:
        check_model_spec(request)
        if not request.metadata_field:
            raise InvalidRequest("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise InvalidRequest(f"Metadata field {field} is not supported")
        model = find(self._dataplane, request.model_spec)
        response = pb.GetModelMetadataResponse(model_spec=model_spec(model))
        signatures = pb.SignatureDefMap(signature_def={SIGNATURE: _signature(model.settings)})
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def GetModelStatus(self, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
        """As upstream, a version narrows the answer and a version label does not."""
        check_model_spec(request)
        spec = request.model_spec
        entries = self._dataplane.entries(spec.name)
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


def tensorflow_handlers(
    servicer: TensorFlowServing, path: PredictPath, in_flight: AbstractContextManager[None]
) -> list[grpc.GenericRpcHandler]:
    """Return the handlers of both services, by the names in their descriptors."""
    return [
        grpc.method_handlers_generic_handler(
            service.full_name,
            {
                method.name: grpc.unary_unary_rpc_method_handler(
                    burst_behaviour(path)
                    if method.name == PREDICT
                    else _short(method, servicer, in_flight)
                )
                for method in service.methods
            },
        )
        for service in SERVICES
    ]


def _short(
    method: Any, servicer: TensorFlowServing, in_flight: AbstractContextManager[None]
) -> Behaviour:
    function = guarded_unary(
        method.name, getattr(servicer, method.name), in_flight, GetMessageClass(method.input_type)
    )
    return Behaviour(function=function, in_place=True)


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


def _refuse(method: str) -> NoReturn:
    raise Unsupported(f"{method} is not served: {_INSTEAD[method]}")
