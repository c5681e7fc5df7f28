"""The least server one can write: grpcio's synchronous server and session.run. The floor to beat.

Usage: bare_grpcio.py PORT REPOSITORY [echo]; with `echo` every message comes back as it is.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def sessions(repository: str) -> dict[str, Any]:
    """Open every model, with one thread, as the others are given."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        path.parts[-3]: onnxruntime.InferenceSession(str(path), options)
        for path in Path(repository).glob("*/1/model.onnx")
    }


def infer_handler(repository: str) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return ModelInfer for models of one FP32 input and one output."""
    from zoo_proto import grpc_service_pb2 as pb

    opened = sessions(repository)

    def infer(request: Any, _: grpc.ServicerContext) -> Any:
        session = opened[request.model_name]
        (tensor,) = request.inputs
        x = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tuple(tensor.shape))
        (output,) = session.get_outputs()
        (y,) = session.run([output.name], {tensor.name: x})
        response = pb.ModelInferResponse(model_name=request.model_name, model_version="1")
        response.outputs.add(name=output.name, datatype="FP32", shape=y.shape)
        response.raw_output_contents.append(y.tobytes())
        return response

    return grpc.unary_unary_rpc_method_handler(
        infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
    )


class Handlers(grpc.GenericRpcHandler):
    """One method and nothing else."""

    def __init__(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> None:
        self._handler = handler

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a call."""
        return self._handler if details.method == METHOD else None


def main() -> None:
    """Serve until a signal comes."""
    port, repository, *mode = sys.argv[1:]
    handler: grpc.RpcMethodHandler[Any, Any]
    if mode == ["echo"]:
        handler = grpc.unary_unary_rpc_method_handler(lambda message, _: message)
    else:
        handler = infer_handler(repository)
    unlimited = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    server = grpc.server(ThreadPoolExecutor(4), options=unlimited)
    server.add_generic_rpc_handlers((Handlers(handler),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
