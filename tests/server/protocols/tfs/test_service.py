"""TensorFlow Serving's services but Predict: labels, metadata, status, and what is not served."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.server.protocols.tfs.client import FLOATS, LABELS, Client, request
from zoo_proto import grpc_service_pb2 as triton
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as pb

State = pb.ModelVersionStatus.State


# -- versions and their labels --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "version"), [("stable", 1), ("canary", 3), ("2", 2)], ids=lambda value: str(value)
)
def test_version_labels(label: str, version: int, labelled: Client) -> None:
    """config.pbtxt names versions; a number is its own label, as perf_analyzer sends it."""
    predict_request = request("m", x=FLOATS)
    predict_request.model_spec.version_label = label

    assert labelled.predict(predict_request).model_spec.version.value == version


@pytest.mark.parametrize("text", ["stable", "stable=", "=1", "a=1,a=2", "a=01", "7=1"])
def test_labels_that_cannot_be(
    text: str, repository: Any, graphs: Any, serve: Callable[..., Any]
) -> None:
    """The model is not served, and the reason quotes the pair."""
    config = LABELS.replace("stable=1, canary=3", text)
    repository.add("m", graphs.identity(), config)
    with serve(repository.path) as wire:
        (entry,) = wire.server.catalog.entries()

    assert "parameter version_labels has '" in entry.reason


# -- GetModelMetadata -----------------------------------------------------------------------------


def test_metadata_is_a_signature(client: Client) -> None:
    """One signature, packed as upstream packs it, with the batch dimension open."""
    metadata_request = pb.GetModelMetadataRequest(
        model_spec=pb.ModelSpec(name="simple"), metadata_field=["signature_def"]
    )
    answer = client.prediction.GetModelMetadata(metadata_request)
    packed, signatures = answer.metadata["signature_def"], pb.SignatureDefMap()

    assert (answer.model_spec.name, answer.model_spec.version.value) == ("simple", 1)
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    assert packed.Unpack(signatures)
    (signature,) = signatures.signature_def.values()
    assert list(signatures.signature_def) == ["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert set(signature.inputs) == {"INPUT0", "INPUT1"}
    output = signature.outputs["OUTPUT1"]
    assert (output.name, output.dtype) == ("OUTPUT1", tf.DT_INT32)
    assert [dim.size for dim in output.tensor_shape.dim] == [-1, 16]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature_def", "x"], "Metadata field x is not supported"),
    ],
)
def test_metadata_has_one_field(fields: list[str], text: str, client: Client) -> None:
    """Anything else is INVALID_ARGUMENT, whatever the model."""
    metadata_request = pb.GetModelMetadataRequest(
        model_spec=pb.ModelSpec(name="nope"), metadata_field=fields
    )

    assert client.refused(metadata_request, "GetModelMetadata") == ("INVALID_ARGUMENT", text)


def test_metadata_of_an_unknown_model(client: Client) -> None:
    """NOT_FOUND; without a model_spec INVALID_ARGUMENT."""
    metadata_request = pb.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert client.refused(metadata_request, "GetModelMetadata") == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )
    metadata_request.model_spec.name = "nope"

    code, text = client.refused(metadata_request, "GetModelMetadata")
    assert code == "NOT_FOUND"
    assert text.startswith("Servable not found for request: Latest(nope): ")


# -- GetModelStatus -------------------------------------------------------------------------------


def status_request(name: str) -> pb.GetModelStatusRequest:
    return pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name=name))


def test_status_of_every_version(labelled: Client) -> None:
    """The newest first, each AVAILABLE and OK; a label narrows nothing, as upstream."""
    message = status_request("m")
    message.model_spec.version_label = "stable"
    answer = labelled.model.GetModelStatus(message)

    rows = [(row.version, row.state, row.status.error_code) for row in answer.model_version_status]
    assert rows == [(number, State.AVAILABLE, 0) for number in (3, 2, 1)]


def test_status_of_one_version(labelled: Client) -> None:
    """Only that one; an unknown one is NOT_FOUND."""
    message = status_request("m")
    message.model_spec.version.value = 2
    (row,) = labelled.model.GetModelStatus(message).model_version_status
    assert (row.version, row.state) == (2, State.AVAILABLE)
    message.model_spec.version.value = 4

    assert labelled.refused(message, "GetModelStatus") == (
        "NOT_FOUND",
        "Could not find version 4 of model m",
    )


def test_status_of_a_version_that_failed(labelled: Client) -> None:
    """It has ended, with a status that says why; Predict does not find it."""
    (row,) = labelled.model.GetModelStatus(status_request("bad")).model_version_status

    assert row.state == State.END
    assert row.status.error_code != 0
    assert row.status.error_message
    predict_request = request("bad", x=FLOATS)
    code, text = labelled.refused(predict_request)
    assert (code, text[:44]) == ("NOT_FOUND", "Servable not found for request: Latest(bad):")
    predict_request.model_spec.version.value = 1
    code, text = labelled.refused(predict_request)
    assert code == "NOT_FOUND"
    assert text.startswith("Servable not found for request: Specific(bad, 1): ")
    assert text.endswith(row.status.error_message)


def test_status_of_an_unknown_model(client: Client) -> None:
    """NOT_FOUND; without a model_spec INVALID_ARGUMENT."""
    assert client.refused(status_request("nope"), "GetModelStatus") == (
        "NOT_FOUND",
        "Could not find any versions of model nope",
    )
    assert client.refused(pb.GetModelStatusRequest(), "GetModelStatus") == (
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    )


def test_status_of_a_model_that_comes_and_goes(
    repository: Any, graphs: Any, serve: Callable[..., Any]
) -> None:
    """Nothing before it was loaded, AVAILABLE, and END without a fault once it was unloaded."""
    repository.add("m", graphs.identity())
    with serve(repository.path, model_control_mode="explicit") as wire:
        client = Client(wire.channel)
        assert client.refused(status_request("m"), "GetModelStatus")[0] == "NOT_FOUND"
        wire.stub.RepositoryModelLoad(triton.RepositoryModelLoadRequest(model_name="m"))
        (loaded,) = client.model.GetModelStatus(status_request("m")).model_version_status
        assert client.predict(request("m", x=FLOATS)).outputs["y"].float_val
        wire.stub.RepositoryModelUnload(triton.RepositoryModelUnloadRequest(model_name="m"))
        (gone,) = client.model.GetModelStatus(status_request("m")).model_version_status
        code, text = client.refused(request("m", x=FLOATS))
        assert code == "NOT_FOUND"
        assert text.startswith("Servable not found for request: Latest(m): ")
        assert text.endswith(": unloaded")

    assert loaded.state == State.AVAILABLE
    assert gone.state in (State.UNLOADING, State.END)
    assert gone.status == pb.StatusProto()


# -- what is not served ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kind", "instead"),
    [
        ("Classify", pb.ClassificationRequest, "call Predict"),
        ("Regress", pb.RegressionRequest, "call Predict"),
        ("MultiInference", pb.MultiInferenceRequest, "call Predict"),
        ("HandleReloadConfigRequest", pb.ReloadConfigRequest, "RepositoryModelLoad"),
    ],
)
def test_the_others_say_what_to_call(method: str, kind: Any, instead: str, client: Client) -> None:
    """UNIMPLEMENTED in words, even with upstream's fields in the message."""
    # field 2, an Input with one byte of it: unknown here, and skipped
    code, text = client.refused(kind.FromString(b"\x12\x01\x00"), method)

    assert code == "UNIMPLEMENTED"
    assert instead in text
