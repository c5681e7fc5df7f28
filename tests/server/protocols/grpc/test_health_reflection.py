"""grpc.health.v1 and reflection, as their own clients use them."""

import queue
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from zoo_server.protocols.grpc.health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def ask(name=""):
    return health_pb2.HealthCheckRequest(service=name)


@pytest.mark.parametrize(
    "name",
    ["", "inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "simple"],
)
def test_check(name, wire):
    """The server, its service and each model by name are SERVING."""
    health = health_pb2_grpc.HealthStub(wire.channel)

    assert health.Check(ask(name)).status == SERVING


def test_check_of_an_unknown_name(wire):
    """A name nobody knows is NOT_FOUND."""
    with pytest.raises(grpc.RpcError, match="unknown service or model 'nope'") as caught:
        health_pb2_grpc.HealthStub(wire.channel).Check(ask("nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_failed_model_is_not_serving(repository, graphs, serve):
    """A model that could not be loaded makes itself and the server NOT_SERVING, not its neighbour."""
    repository.add("bad", b"")
    repository.add("good", graphs.identity())
    with serve(repository.path) as wire:
        health = health_pb2_grpc.HealthStub(wire.channel)
        states = {name: health.Check(ask(name)).status for name in ("", "bad", "good")}

    assert states == {"": NOT_SERVING, "bad": NOT_SERVING, "good": SERVING}


def test_watch_hears_of_the_end(repository, graphs, serve):
    """A watcher gets the state at once, NOT_SERVING when the server leaves, and then the end."""
    repository.add("m", graphs.identity())
    heard: queue.Queue = queue.Queue()

    def listen(watch):
        heard.put([update.status for update in watch])

    with serve(repository.path) as wire:
        watch = health_pb2_grpc.HealthStub(wire.channel).Watch(ask("m"))
        assert next(watch).status == SERVING
        listener = threading.Thread(target=listen, args=(watch,))
        listener.start()
        wire.server.stop(1)
        assert heard.get(timeout=20) == [NOT_SERVING]
        listener.join()


def test_watchers_and_reflection_starve_nobody(wire):
    """More open streams than the server has threads leave inference as it was."""
    health = health_pb2_grpc.HealthStub(wire.channel)
    watches = [health.Watch(ask(f"name {number}")) for number in range(100)]
    for watch in watches:
        assert next(watch).status == UNKNOWN
    stop = threading.Event()

    def patient():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        stop.wait(10)

    reflect = reflection_pb2_grpc.ServerReflectionStub(wire.channel).ServerReflectionInfo
    streams = [reflect(patient()) for _ in range(20)]
    next(streams[0])

    assert wire.infer("fixed", x=np.zeros((2, 3), np.float32))["y"].shape == (2, 3)
    stop.set()
    for call in (*watches, *streams):
        call.cancel()


def test_health_forgets_watchers():
    """Names that strangers invent are forgotten with their watches; changes alone are told."""
    callbacks, sent = [], []

    class Context:
        def add_callback(self, callback):
            callbacks.append(callback)
            return True

    health = Health()
    health.publish({"m": True})
    health.watch(ask("m"), Context(), sent.append)
    health.watch(ask("x"), Context(), sent.append)
    health.publish({"m": True})
    health.publish({"m": False})
    assert [one.status for one in sent] == [SERVING, UNKNOWN, NOT_SERVING]
    assert health.watches == 2
    for callback in callbacks:
        callback()
    assert health.watches == 0


@pytest.fixture
def reflect(wire):
    """Return a function that asks reflection one question."""
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)

    def one(**question):
        request = reflection_pb2.ServerReflectionRequest(**question)
        (answer,) = stub.ServerReflectionInfo(iter([request]))
        return answer

    return one


def test_reflection_lists_the_services(reflect):
    """`grpcurl list` shows inference in both protocols, health and reflection."""
    services = reflect(list_services="").list_services_response.service

    assert {service.name for service in services} == {
        "inference.GRPCInferenceService",
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize(
    "symbol", ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
)
def test_reflection_describes_its_neighbours(symbol, reflect):
    """`grpcurl describe` works for the services that come from other packages."""
    answer = reflect(file_containing_symbol=symbol)

    assert answer.file_descriptor_response.file_descriptor_proto


def test_call_built_only_from_reflection(wire, reflect):
    """A client that knows nothing but the address builds the messages and gets an answer."""
    name = "inference.GRPCInferenceService"
    pool = DescriptorPool()
    answer = reflect(file_containing_symbol=name)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(raw)
        for raw in answer.file_descriptor_response.file_descriptor_proto
    ]
    for file in sorted(files, key=lambda file: len(file.dependency)):
        pool.Add(file)
    method = pool.FindServiceByName(name).FindMethodByName("ModelInfer")
    request = GetMessageClass(method.input_type)(model_name="identity_fp32")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1, 2, 3, 4])
    call = wire.channel.unary_unary(
        f"/{name}/ModelInfer",
        type(request).SerializeToString,
        GetMessageClass(method.output_type).FromString,
    )
    raw = call(request).raw_output_contents[0]

    assert np.frombuffer(raw, np.float32).tolist() == [1, 2, 3, 4]
