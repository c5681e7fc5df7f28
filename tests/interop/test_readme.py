"""What the README and docs/serving.md show is what happens: their examples run on a real server."""

import http.client
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from zoo.cli import COMMANDS
from zoo.client import Client
from zoo.recipes.registry import Registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = README + (ROOT / "docs/serving.md").read_text()
ZOO = Path(sys.executable).with_name("zoo")

pytestmark = pytest.mark.interop


def _example(name: str) -> str:
    """Return the code block that follows `<!-- example: name -->`."""
    block = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", PAGES, re.DOTALL)
    assert block is not None, name
    return block[1]


@pytest.mark.parametrize("name", ["client", "tritonclient", "stubs"])
def test_the_python_examples_print_the_probabilities(address: str, name: str) -> None:
    """Each runs as it stands, but for the port, and finds a setosa."""
    code = _example(name).replace("127.0.0.1:8001", address)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )

    assert done.returncode == 0, done.stderr
    values = [float(number) for number in re.findall(r"\d\.\d*(?:e[-+]\d+)?", done.stdout)]
    assert len(values) == 3
    assert values[0] == max(values)
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert ("setosa" in done.stdout) == ("classify" in code)


def test_the_library_example_finds_a_setosa(trained) -> None:
    """It runs as it stands, where there is a folder `models`."""
    done = subprocess.run(
        [sys.executable, "-c", _example("library")],
        capture_output=True, text=True, timeout=60, check=False, cwd=trained.folder,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("setosa {'setosa': 0.9")


def test_the_sequence_example_ends_where_the_whole_window_does(address: str) -> None:
    """Its values one by one give the forecast of the model that takes them all at once."""
    code = _example("sequence").replace("127.0.0.1:8001", address)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    found = re.search(r"for sunspots in \((.+)\):", code)
    assert found is not None
    with Client(address) as client:
        window = [[[float(value)] for value in found[1].split(",")]]
        whole = client.infer("lstm_sunspots", window)

    assert done.returncode == 0, done.stderr
    assert float(done.stdout.strip("[]\n")) == pytest.approx(whole[0, 0], rel=1e-4)


def test_the_grpcurl_line_works_through_reflection(address: str) -> None:
    """Its exact request, built from nothing but what the server's reflection says."""
    words = shlex.split(_example("grpcurl").removeprefix("$ "))
    text, (target, path) = words[words.index("-d") + 1], words[-2:]
    assert target == "127.0.0.1:8001"
    service, method = path.split("/")
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        described = pool.FindServiceByName(service).methods_by_name[method]
        request = json_format.Parse(text, message_factory.GetMessageClass(described.input_type)())
        call = channel.unary_unary(
            f"/{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(described.output_type).FromString,
        )
        response = json_format.MessageToDict(call(request))

    assert response["modelName"] == "dense_iris"
    assert response["outputs"][0]["shape"] == ["1", "3"]


def test_the_curl_line_works(addresses: dict[str, str]) -> None:
    """Its exact body and path, posted to the REST port, find a setosa."""
    words = shlex.split(_example("curl").removeprefix("$ "))
    text, target = words[words.index("-d") + 1], words[-1]
    host, slash, path = target.partition("/")
    assert host == "127.0.0.1:8000"
    connection = http.client.HTTPConnection(addresses["HTTP"], timeout=30)
    connection.request("POST", slash + path, text.encode())
    answer = connection.getresponse()
    (output,) = json.loads(answer.read())["outputs"]
    connection.close()

    assert answer.status == 200
    assert output["shape"] == [1, 3]
    assert output["data"].index(max(output["data"])) == 0


def test_the_terminal_session_shows_real_output(address: str) -> None:
    """`zoo predict` answers what the README prints, up to what another CPU's training changes."""
    found = re.search(r"\$ \.venv/bin/zoo (predict .*)\n((?:.+\n)+?)```", README)
    assert found is not None
    done = subprocess.run(
        [str(ZOO), *shlex.split(found[1]), "--server", address],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    printed, answered = found[2].splitlines(), done.stdout.splitlines()
    assert answered[:2] == printed[:2]
    for left, right in zip(printed[2:], answered[2:], strict=True):
        assert left.split()[0] == right.split()[0]
        assert float(left.split()[1]) == pytest.approx(float(right.split()[1]), abs=0.1)


def test_predict_speaks_json(address: str) -> None:
    """Labels, probabilities, version and raw outputs, for machines."""
    done = subprocess.run(
        [
            str(ZOO),
            "predict",
            "dense_cancer",
            "-",
            "--json",
            "--server",
            address,
        ],
        input="\n".join([",".join(["1"] * 30)] * 2),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    answer = json.loads(done.stdout)
    assert answer["model"] == "dense_cancer"
    assert len(answer["predictions"]) == 2
    assert set(answer["predictions"][0]["probabilities"]) == {"malignant", "benign"}


def test_the_commands_table_is_complete() -> None:
    """Every command is in the README, and no other."""
    assert tuple(re.findall(r"^\| `zoo (\w+)", README, re.MULTILINE)) == COMMANDS


def test_the_models_table_is_complete() -> None:
    """It was generated from the manifests of every model of the registry."""
    table = README.split("<!-- models: begin -->")[1].split("<!-- models: end -->")[0]

    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == Registry.default().names()
    assert "not exported" not in table
