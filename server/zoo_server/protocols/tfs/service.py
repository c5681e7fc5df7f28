"""TensorFlow Serving's PredictionService and ModelService, for ONNX models.

One method an RPC, named like it. A model has one signature, `serving_default`: its inputs and
outputs under their own names. The rules are docs/protocol.md 2.6 and 1c; the messages' stems are
upstream's (servables/tensorflow/predict_util.cc, get_model_metadata_impl.cc,
model_servers/server_core.cc and get_model_status_impl.cc).

A version label is a name that config.pbtxt gives to a version (its parameter `version_labels`), or
the version's number: perf_analyzer sends the number so.
"""

from contextlib import AbstractContextManager
from typing import NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from zoo_proto import tensorflow_serving_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest
from zoo_server.protocols.behaviour import Behaviour, burst_behaviour
from zoo_server.protocols.interceptor import guarded_unary
from zoo_server.protocols.servables import find, model_spec, refuse, signatures, statuses
from zoo_server.protocols.tfs.predict import METHOD as PREDICT
from zoo_server.protocols.tfs.predict import PredictPath, check_model_spec

SERVICES = tuple(pb.DESCRIPTOR.services_by_name.values())

SIGNATURE_DEF = "signature_def"


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
        response.metadata[SIGNATURE_DEF].Pack(signatures(model.settings))
        return response

    def GetModelStatus(self, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
        check_model_spec(request)
        return statuses(self._dataplane, request.model_spec)

    def Classify(self, _: object) -> NoReturn:
        refuse("Classify")

    def Regress(self, _: object) -> NoReturn:
        refuse("Regress")

    def MultiInference(self, _: object) -> NoReturn:
        refuse("MultiInference")

    def HandleReloadConfigRequest(self, _: object) -> NoReturn:
        refuse("HandleReloadConfigRequest")


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
    method: MethodDescriptor, servicer: TensorFlowServing, in_flight: AbstractContextManager[None]
) -> Behaviour:
    function = guarded_unary(
        method.name, getattr(servicer, method.name), in_flight, GetMessageClass(method.input_type)
    )
    return Behaviour(function=function, in_place=True)
