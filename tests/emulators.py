"""Stores of other providers on this machine: Google's by gcp-storage-emulator, Azure's by Azurite."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.object_store import Proxy, proxied
from tests.waiting import until

#: Where `make test-all` puts Azurite.
AZURITE = Path(__file__).parents[1] / "build/azurite/node_modules/azurite/dist/src/blob/main.js"

#: The account that Azurite has, and its key, which is the same everywhere.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def google() -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Run a store with the bucket `bucket`; yield a proxy before it, and the environment that names it."""
    server = pytest.importorskip(
        "gcp_storage_emulator.server",
        reason="gcp-storage-emulator is not installed: `make test-all` does that",
    )
    port = _free_port()
    emulator = server.create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    emulator.start()
    try:
        with proxied(("127.0.0.1", port)) as proxy:
            host = f"http://127.0.0.1:{proxy.server_port}"
            # Else each call looks for credentials first, to ask what kind of bucket it is.
            yield (
                proxy,
                {"STORAGE_EMULATOR_HOST": host, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"},
            )
    finally:
        emulator.stop()


@contextmanager
def azure(folder: Path) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Run a store with the container `bucket`; yield a proxy before it, and the environment that names it."""
    node = shutil.which("node")
    if node is None or not AZURITE.is_file():
        pytest.skip("Azurite is not installed: `make test-all` does that, with npm")
    port = _free_port()
    options = ["--blobPort", str(port), "--location", str(folder), "--silent", "--disableTelemetry"]
    command = [node, str(AZURITE), *options, "--skipApiVersionCheck"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port), 60)
            with proxied(("127.0.0.1", port)) as proxy:
                here = f"http://127.0.0.1:{proxy.server_port}/{_ACCOUNT}"
                account = f"AccountName={_ACCOUNT};AccountKey={_KEY}"
                connection = f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={here};"
                _make_container(connection)
                yield proxy, {"AZURE_STORAGE_CONNECTION_STRING": connection}
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _make_container(connection: str) -> None:
    import fsspec

    fsspec.filesystem("az", connection_string=connection, skip_instance_cache=True).mkdir("bucket")
