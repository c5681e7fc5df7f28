"""REST v2 over a real port: what each path but inference answers, and paths that are none."""

import json

import grpc
import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.protocols.rest.json_values import message_to_json

FOUR = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@pytest.fixture(scope="module")
def stub(rest):
    """Return gRPC stubs to the same server."""
    with grpc.insecure_channel(rest.server.grpc_address) as channel:
        yield grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)


def test_server_and_models_are_described_as_over_grpc(rest, stub):
    """Metadata of the server and of a model hold what gRPC's messages hold."""
    told, shown = stub.ServerMetadata(pb.ServerMetadataRequest()), rest.get("/v2").json
    model = stub.ModelMetadata(pb.ModelMetadataRequest(name="simple"))
    by_rest = rest.get("/v2/models/simple").json

    assert shown == {
        "name": told.name,
        "version": told.version,
        "extensions": list(told.extensions),
    }
    assert (by_rest["name"], by_rest["platform"]) == (model.name, model.platform)
    assert by_rest["versions"] == list(model.versions)
    assert by_rest["inputs"] == [
        {"name": value.name, "datatype": value.datatype, "shape": list(value.shape)}
        for value in model.inputs
    ]


def test_configuration_has_numbers_where_protobuf_would_write_strings(rest):
    """64-bit fields are numbers, enumerations are names, map keys are strings."""
    config = rest.get("/v2/models/simple/config").json
    versions = rest.get("/v2/models/versions/versions/2/config").json

    assert config["max_batch_size"] == 8
    assert config["input"][0]["dims"] == [16]
    assert config["input"][0]["data_type"] == "TYPE_INT32"
    assert versions["version_policy"] == {"all": {}}


def test_a_version_is_named_in_the_path(rest):
    """Every path of a model exists with a version too."""
    assert rest.get("/v2/models/versions/versions/2").json["versions"] == ["2"]
    assert rest.get("/v2/models/versions/versions/2/ready").status == 200
    (stats,) = rest.get("/v2/models/versions/versions/3/stats").json["model_stats"]
    assert stats["version"] == "3"
    answer = rest.ask("POST", "/v2/models/versions/versions/1/infer", json.dumps(FOUR).encode())
    assert answer.json["model_version"] == "1"


def test_health(rest):
    """Live and ready are statuses, without a body."""
    for path in ("live", "ready"):
        answer = rest.get(f"/v2/health/{path}")
        assert (answer.status, answer.body) == (200, b"")
    assert rest.get("/v2/models/simple/ready").status == 200
    unknown = rest.get("/v2/models/nobody/ready")
    assert (unknown.status, unknown.error) == (400, "Model version not ready")


def test_a_failed_model_makes_the_server_unready(repository, graphs, serve_rest):
    """Readiness is 400 and the index says why, as ServerReady says over gRPC."""
    repository.add("good", graphs.identity())
    repository.add("broken", b"no graph")
    with serve_rest(repository.path) as rest:
        assert rest.get("/v2/health/ready").status == 400
        assert rest.get("/v2/health/live").status == 200
        index = rest.ask("POST", "/v2/repository/index").json
        ready = rest.ask("POST", "/v2/repository/index", b'{"ready": true}').json

    broken, good = index
    assert good == {"name": "good", "version": "1", "state": "READY"}
    assert broken["state"] == "UNAVAILABLE"
    assert "cannot be loaded" in broken["reason"]
    assert ready == [good]


def test_statistics_count_both_wires_together(rest, stub):
    """One request over HTTP is one more in what gRPC tells."""

    def count():
        request = pb.ModelStatisticsRequest(name="identity_fp32")
        return stub.ModelStatistics(request).model_stats[0].inference_stats.success.count

    before = count()
    rest.infer("identity_fp32", FOUR)
    (shown,) = rest.get("/v2/models/identity_fp32/stats").json["model_stats"]
    everything = rest.get("/v2/models/stats").json["model_stats"]

    (message,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="simple")).model_stats
    (same,) = rest.get("/v2/models/simple/stats").json["model_stats"]
    assert same == message_to_json(message)
    assert count() == before + 1 == shown["inference_stats"]["success"]["count"]
    assert {stats["name"] for stats in everything} > {"simple", "variable"}


def test_openapi_document_names_exactly_the_routes(rest):
    """Every path of the table is answered, with its methods alone, and every reference resolves."""
    document = rest.get("/v2/openapi.json").json
    for path, item in document["paths"].items():
        methods = {method.upper() for method in item if method != "parameters"}
        named = path.format(
            model="none", version="1", label="none", region="none", repository="none"
        )
        for method in ("GET", "POST"):
            answer = rest.ask(method, named)
            is_wrong = answer.status == 405 or b"Malformed request" in answer.body
            assert is_wrong is (method not in methods), (method, path)
    for reference in set(json.dumps(document).split('"$ref": "#/')[1:]):
        part = document
        for step in reference.split('"')[0].split("/"):
            part = part[step]


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/", 405, "Method Not Allowed"),
        ("GET", "/v2/", 404, "Not Found"),
        ("GET", "/v2/models/simple/versions/x", 404, "Not Found"),
        ("GET", "/v2/models/simple/versions/x/ready", 404, "Not Found"),
        ("GET", "/v2/models/simple/nothing", 404, "Not Found"),
        ("GET", "/v2/models/nobody", 404, "Request for unknown model: 'nobody' is not found"),
        ("GET", "/v2/models/nobody/config", 404, "Request for unknown model: 'nobody' is not fo"),
        ("GET", "/v2/models/simple/versions/7", 404, "Request for unknown model: 'simple' vers"),
        ("GET", "/v2/models/simple/versions/" + "9" * 30, 400, "failed to get model version from"),
        ("GET", "/v2/models/nobody/stats", 400, "requested model 'nobody' is not available"),
        ("GET", "/v2/models/simple/infer", 405, "Method Not Allowed"),
        ("POST", "/v2", 405, "Method Not Allowed"),
        ("DELETE", "/v2/models/simple", 405, "Method Not Allowed"),
        ("GET", "/v2/repository/index", 405, "Method Not Allowed"),
        ("POST", "/v2/repository/other/index", 501, "'repository_name' specification is not sup"),
        ("POST", "/v2/repository/other/models/simple/load", 501, "'repository_name' specificati"),
        ("POST", "/v2/repository/other/models/simple/unload", 501, "'repository_name' specifica"),
        ("POST", "/v2/models/simple/generate", 404, "Not Found"),
        ("POST", "/v2/models/simple/versions/1/generate_stream", 404, "Not Found"),
        ("GET", "/v2/models/nobody/trace/setting", 400, "Request for unknown model : nobody"),
    ],
)
def test_a_path_that_is_not_answered(rest, method, path, status, error):
    """Unknown paths, unknown models and wrong methods, with Triton's words."""
    answer = rest.ask(method, path)
    assert answer.status == status
    assert answer.error.startswith(error)


def test_index_wants_a_boolean(rest):
    """Anything else is said to be none."""
    answer = rest.ask("POST", "/v2/repository/index", b'{"ready": 1}')
    assert (answer.status, answer.error) == (400, "Invalid value for 'ready': expected a boolean")
