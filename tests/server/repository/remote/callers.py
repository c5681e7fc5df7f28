"""What the tests of remote repositories ask a server for."""

from zoo_proto import grpc_service_pb2 as pb


def index(wire):
    rows = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    return {(row.name, row.version): (row.state, row.reason) for row in rows}


def load(wire, name):
    wire.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name))


def look_twice(wire):
    wire.server.control.poll()
    wire.server.control.poll()
