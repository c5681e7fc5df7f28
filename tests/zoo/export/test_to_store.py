"""`zoo export --repository URL`, the command itself."""

import subprocess

import pytest

from tests.conftest import ZOO, Trained
from tests.object_store import ObjectStore


@pytest.mark.slow
def test_an_export_into_a_store(s3: ObjectStore, trained: Trained) -> None:
    """The version is there with its marker; a second export finds it up to date."""
    command = [
        str(ZOO),
        "export",
        "dense_iris",
        "--repository",
        s3.url,
        "--runs",
        str(trained.runs),
    ]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    keys = s3.keys()
    second = subprocess.run(command, capture_output=True, text=True, check=True)

    assert f"dense_iris: published as version 1 in {s3.url}" in first.stderr
    assert {"dense_iris/1/.complete", "dense_iris/config.pbtxt"} <= set(keys)
    assert "up to date" in second.stdout
    assert f"dense_iris: up to date, it is version 1 in {s3.url}" in second.stderr
    assert s3.keys() == keys
