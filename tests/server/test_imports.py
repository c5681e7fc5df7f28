"""What loading the server brings into a process, each case in a process of its own."""

import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def run(program: str) -> str:
    """Run a program in a fresh interpreter, warnings ignored; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_our_ranges_meet_tritonclients():
    """2.7: what both ask for can be installed together, and what is tested is inside both ranges."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = {one.name: one.specifier for one in map(Requirement, project["dependencies"])}
    theirs = [
        one
        for one in map(Requirement, metadata.requires("tritonclient") or ())
        if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("grpc", "http"))
    ]
    shared = [one for one in theirs if one.name in ours]
    assert {one.name for one in shared} >= {"grpcio", "protobuf", "numpy"}
    tested = {one.name: one.specifier for one in map(Requirement, constraints())}
    for one in shared:
        both = one.specifier & ours[one.name]
        (pinned,) = tested[one.name]
        assert both.contains(pinned.version), f"{one.name} {pinned.version} of {both}"
        # The floor that we promise is one that their range has, or it would never be installed.
        (floor,) = [rule.version for rule in ours[one.name] if rule.operator == ">="]
        assert one.specifier.contains(floor), f"{one.name} {floor} of {one.specifier}"


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_a_local_repository_needs_no_object_store(tmp_path):
    """A server of a folder loads no driver, nor what is only for repositories elsewhere."""
    program = (
        "import sys; from pathlib import Path; from zoo_server.config import ServerConfig\n"
        "from zoo_server.server import running\n"
        f"config = ServerConfig(repository=Path({str(tmp_path)!r}), grpc_port=0, http_port=None,"
        " metrics_port=None, drain_seconds=0)\n"
        "with running(config): pass\n"
        "drivers = 'fsspec s3fs botocore aiohttp zoo_server.repository.remote.store'.split()\n"
        "print([name for name in drivers if name in sys.modules])"
    )
    assert run(program) == "[]"


def test_server_loads_no_framework():
    """Importing the server brings no framework, no zoo and, until it serves, no onnxruntime."""
    heavy = "tensorflow keras zoo onnx onnxruntime google.protobuf.json_format"
    program = (
        f"import sys, zoo_server.server; print([m for m in {heavy.split()!r} if m in sys.modules])"
    )

    assert run(program) == "[]"


@pytest.mark.parametrize("module", ["zoo.commands.serve", "zoo_server.protocols.grpc.poller"])
def test_the_poller_is_chosen_before_grpc_is_imported(module):
    """`zoo serve` can still choose: twice the CPU a request if something has imported grpc by then."""
    program = (
        f"import sys, {module}; from zoo_server.protocols.grpc.poller import prefer_older_poller;"
        "print('grpc' in sys.modules, prefer_older_poller())"
    )

    assert run(program) == "False True"


def test_http_is_loaded_once_grpc_answers():
    """Importing the server brings neither the HTTP server nor the metrics' library."""
    late = "uvicorn h11 starlette prometheus_client zoo_server.protocols.rest.application"
    program = (
        f"import sys, zoo_server.server; print([m for m in {late.split()!r} if m in sys.modules])"
    )

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


@pytest.mark.parametrize("first", ["tritonclient.grpc", "zoo_proto.tensorflow_serving_pb2"])
def test_every_stub_loads_beside_tritonclient(first):
    """TensorFlow Serving's too: one process may hold the three protocols."""
    second = {"tritonclient.grpc": "zoo_proto.tensorflow_serving_pb2"}.get(
        first, "tritonclient.grpc"
    )
    program = (
        f"import {first}; import {second}; import zoo_server.server;"
        "from zoo_proto import tensorflow_serving_pb2 as ours;"
        "from google.protobuf import any_pb2;"
        "answer = ours.GetModelMetadataResponse();"
        "answer.metadata['x'].Pack(ours.SignatureDefMap());"
        "raw = answer.metadata['x'].SerializeToString();"
        "print(any_pb2.Any.FromString(raw).type_url)"
    )

    assert run(program) == "type.googleapis.com/tensorflow.serving.SignatureDefMap"


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(
            ("zoo_proto.tensorflow_serving_pb2", "tritonclient.grpc", "tensorflow"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("tritonclient.grpc", "tensorflow", "zoo_proto.tensorflow_serving_pb2"),
            marks=pytest.mark.slow,
        ),
        ("tensorflow", "zoo_proto.tensorflow_serving_pb2", "tritonclient.grpc"),
    ],
    ids=["ours first", "ours last", "ours between"],
)
def test_stubs_share_a_process_with_both(order):
    """One process may hold our stubs, tritonclient's and TensorFlow, and send what each makes."""
    if find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed: that the three live together is not shown")
    program = (
        "import os; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3';"
        f"import {', '.join(order)};"
        "import zoo_server.server, tensorflow;"
        "from zoo_proto import grpc_service_pb2 as ours, tensorflow_serving_pb2 as serving;"
        "from tritonclient.grpc import service_pb2 as theirs;"
        "raw = theirs.ModelInferRequest(model_name='m').SerializeToString();"
        "name = ours.ModelInferRequest.FromString(raw).model_name;"
        "made = tensorflow.make_tensor_proto([[1.0, 2.0]]);"
        "predict = serving.PredictRequest();"
        "predict.inputs['x'].ParseFromString(made.SerializeToString());"
        "assert type(predict.inputs['x']) is not type(made);"
        "back = type(made).FromString(predict.inputs['x'].SerializeToString());"
        "print(name, tensorflow.make_ndarray(back).tolist())"
    )

    assert run(program).splitlines()[-1] == "m [[1.0, 2.0]]"


def test_telemetry_is_off_before_onnxruntime_loads():
    """The environment says so before onnxruntime is imported."""
    program = (
        "import os, sys; from zoo_server.backends.onnxruntime.runtime import Runtime;"
        "assert 'onnxruntime' not in sys.modules;"
        "Runtime(provider='cpu', threads=1); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )

    assert run(program) == "1"


def test_missing_onnxruntime_names_the_extras():
    """Without either wheel the error says which extra to install."""
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from zoo_server.backends.onnxruntime.runtime import Runtime; from zoo_server.errors import RuntimeMissing\n"
        "try: Runtime(provider='cpu', threads=1)\n"
        "except RuntimeMissing as error: print(error)"
    )

    assert "pip install 'layer-zoo[cpu]'" in run(program)
