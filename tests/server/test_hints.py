"""What the server's refusals of options and of a model's folder say to do, done: then it is accepted."""

import argparse
import re

import pytest

from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.protocols.auth import Right, parse_tokens
from zoo_server.repository.scan import ModelRepository
from zoo_server.repository.single_model import SingleModel


def configuration(*words):
    """Return what the words of a command line say."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    ServerConfig.add_arguments(parser, {})
    options = parser.parse_args(words)
    options.repository = "models"
    return ServerConfig.from_arguments(options)


PEM = ("--tls-certificate", "a.pem", "--tls-key", "a.key")

#: Options that are refused, what is said, and how it is done.
REFUSED = [
    (["--host", ""], "give an address such as 127.0.0.1", ["--host", "127.0.0.1"]),
    (PEM[:2], "--tls-certificate and --tls-key go together", PEM),
    (PEM[2:], "--tls-certificate and --tls-key go together", PEM),
    (
        ["--tls-client-ca", "ca.pem"],
        "needs --tls-certificate and --tls-key",
        ["--tls-client-ca", "ca.pem", *PEM],
    ),
    (
        ["--grpc-web", "--http-port", "off"],
        "--grpc-web needs an --http-port",
        ["--grpc-web", "--http-port", "0"],
    ),
    (
        ["--http-cors-origin", "example.org"],
        "write https://example.org",
        ["--http-cors-origin", "https://example.org"],
    ),
    (["--http-cors-origin", "example.org"], "or *", ["--http-cors-origin", "*"]),
    (
        ["--otel-endpoint", "127.0.0.1"],
        "write one such as http://127.0.0.1:4318/v1/traces",
        ["--otel-endpoint", "http://127.0.0.1:4318/v1/traces"],
    ),
    (
        ["--model-name", "m"],
        "--model-name and --model-dir go together",
        ["--model-name", "m", "--model-dir", "d"],
    ),
    (
        ["--load-model", "m"],
        "needs --model-control-mode explicit",
        ["--load-model", "m", "--model-control-mode", "explicit"],
    ),
    (
        ["--model-memory", "9", "--workers", "2"],
        "--model-memory and --keep-alive need --workers 1",
        ["--model-memory", "9", "--workers", "1"],
    ),
    (
        ["--cache-config", "local,size=9", "--response-cache-byte-size", "9"],
        "give the latter",
        ["--cache-config", "local,size=9"],
    ),
    (
        ["--cache-config", "redis,host=h"],
        "write local,size=BYTES",
        ["--cache-config", "local,size=9"],
    ),
    (
        ["--rate-limit-resource", "R:1"],
        "needs --rate-limit execution_count",
        ["--rate-limit-resource", "R:1", "--rate-limit", "execution_count"],
    ),
    (
        ["--rate-limit-resource", "R"],
        "write NAME:COUNT or NAME:COUNT:DEVICE",
        ["--rate-limit-resource", "R:1:0", "--rate-limit", "execution_count"],
    ),
    (
        ["--rate-limit", "execution_count", "--workers", "2"],
        "needs --workers 1",
        ["--rate-limit", "execution_count", "--workers", "1"],
    ),
    (["--max-queue-size", "-1"], "it must lie in 0 to", ["--max-queue-size", "0"]),
    (["--http-port", "x"], "or `off`", ["--http-port", "off"]),
    (["--drain-seconds", "x"], "0 to 86400 seconds", ["--drain-seconds", "86400"]),
]


@pytest.mark.parametrize(("refused", "words", "done"), REFUSED)
def test_what_is_said_of_an_option_is_accepted(refused, words, done):
    with pytest.raises((ConfigurationError, argparse.ArgumentError), match=re.escape(words)):
        configuration(*refused)
    configuration(*done)


@pytest.mark.parametrize(
    ("content", "words", "done"),
    [
        (b"", "write a token into it", b"secret"),
        (b"a\na\n", "line 2: the token is there twice", b"a\nb\n"),
        (
            b"secret read-only",
            f"rights between commas; known are {', '.join(Right)}",
            f"secret {','.join(Right)}".encode(),
        ),
    ],
)
def test_what_is_said_of_a_token_file_is_accepted(tmp_path, content, words, done):
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        parse_tokens(tmp_path, content)
    assert parse_tokens(tmp_path, done)


def fault(repository):
    """Return why the one model of a repository is not served."""
    (model,) = repository.scan()
    return model.fault


def test_what_is_said_of_a_folder_without_a_version_makes_one(tmp_path):
    (tmp_path / "models" / "m").mkdir(parents=True)
    repository = ModelRepository(tmp_path / "models")

    assert "put the graph at m/1/model.onnx" in fault(repository)
    (tmp_path / "models" / "m" / "1").mkdir()
    (tmp_path / "models" / "m" / "1" / "model.onnx").touch()
    assert fault(repository) is None


def test_one_of_a_file_and_a_folder_of_one_name_is_kept(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").touch()
    (tmp_path / "m.onnx").touch()
    repository = ModelRepository(tmp_path)

    assert "keep one" in fault(repository)
    (tmp_path / "m.onnx").unlink()
    assert fault(repository) is None


def test_a_link_that_leads_out_is_moved_or_followed(tmp_path):
    outside = tmp_path / "outside" / "1"
    outside.mkdir(parents=True)
    (outside / "model.onnx").touch()
    models = tmp_path / "models"
    models.mkdir()
    (models / "m").symlink_to(outside.parent)

    assert "move it, or start the server with --follow-links" in fault(ModelRepository(models))
    assert fault(ModelRepository(models, follow_links=True)) is None
    assert configuration("--follow-links").follow_links
    (models / "m").unlink()
    outside.parent.rename(models / "m")
    assert fault(ModelRepository(models)) is None


@pytest.mark.parametrize("there", [(), ("a.onnx", "b.onnx"), ("a/1/model.onnx", "b/1/model.onnx")])
@pytest.mark.parametrize("place", ["model.onnx", "1/model.onnx"])
def test_the_graph_of_a_single_model_is_put_in_either_place(tmp_path, there, place):
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    repository = SingleModel(tmp_path, "m")

    assert "put one graph at model.onnx or 1/model.onnx" in fault(repository)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    assert fault(repository) is None
