"""Handlers of a transport of gRPC, and calls to them."""

import grpc

Status = grpc.StatusCode


class Handlers(grpc.GenericRpcHandler):
    """Handlers by the last part of the method's name."""

    def __init__(self, **handlers):
        self._handlers = handlers

    def service(self, details):
        return self._handlers.get(details.method.rpartition("/")[2])


def unary(behaviour):
    return grpc.unary_unary_rpc_method_handler(behaviour)


def call(channel, name, message=b"x", **options):
    return channel.unary_unary(f"/s/{name}")(message, timeout=options.pop("timeout", 10), **options)


def status_of(error):
    return error.value.code(), error.value.details()
