"""What loading the server brings into a process, each case in a process of its own."""

import subprocess
import sys

import pytest


def run(program: str) -> str:
    """Run a program in a fresh interpreter, warnings ignored; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_server_loads_no_framework():
    """Importing the server brings no framework, no zoo and, until it serves, no onnxruntime."""
    heavy = "tensorflow keras zoo onnx onnxruntime google.protobuf.json_format"
    program = f"import sys, server.app; print([m for m in {heavy.split()!r} if m in sys.modules])"

    assert run(program) == "[]"


def test_http_is_loaded_once_grpc_answers():
    """Importing the server brings neither the HTTP server nor the metrics' library."""
    late = "uvicorn h11 starlette prometheus_client server.api.rest"
    program = f"import sys, server.app; print([m for m in {late.split()!r} if m in sys.modules])"

    assert run(program) == "[]"


@pytest.mark.parametrize("first", ["tritonclient.grpc", "zoo_proto.grpc_service_pb2"])
def test_stubs_share_a_process_with_tritonclient(first):
    """Our stubs and tritonclient's load in either order and both work."""
    second = {"tritonclient.grpc": "zoo_proto.grpc_service_pb2"}.get(first, "tritonclient.grpc")
    program = (
        f"import {first}; import {second};"
        "from zoo_proto import grpc_service_pb2 as ours;"
        "from tritonclient.grpc import service_pb2 as theirs;"
        "raw = ours.ModelInferRequest(model_name='m').SerializeToString();"
        "print(theirs.ModelInferRequest.FromString(raw).model_name)"
    )

    assert run(program) == "m"


def test_telemetry_is_off_before_onnxruntime_loads():
    """The environment says so before onnxruntime is imported."""
    program = (
        "import os, sys; from server.runtime.session import Runtime;"
        "assert 'onnxruntime' not in sys.modules;"
        "Runtime(provider='cpu', threads=1); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )

    assert run(program) == "1"


def test_missing_onnxruntime_names_the_extras():
    """Without either wheel the error says which extra to install."""
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from server.runtime.session import Runtime; from server.errors import RuntimeMissing\n"
        "try: Runtime(provider='cpu', threads=1)\n"
        "except RuntimeMissing as error: print(error)"
    )

    assert "pip install 'layer-zoo[cpu]'" in run(program)
