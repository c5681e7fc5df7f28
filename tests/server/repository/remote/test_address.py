"""The address of a remote repository: what each form means, and which are none."""

import socket
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.utils import infer_storage_options

from zoo.cli import main
from zoo_server.config import repository_place
from zoo_server.errors import ConfigurationError
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.store import Store


@pytest.mark.parametrize(
    ("url", "path", "options"),
    [
        ("s3://bucket/a/b/", "bucket/a/b", {}),
        ("s3://bucket", "bucket", {}),
        ("s3://host:9000/bucket/a", "bucket/a", {"endpoint_url": "http://host:9000"}),
        ("s3://http://h.org:1/bucket", "bucket", {"endpoint_url": "http://h.org:1"}),
        ("s3://https://h.org:443/bucket/a", "bucket/a", {"endpoint_url": "https://h.org:443"}),
        ("gs://bucket/a", "bucket/a", {}),
        ("as://account/container/a", "container/a", {"account_name": "account"}),
        ("https://example.org/a/", "https://example.org/a", {}),
        ("file:///srv/models", "/srv/models", {}),
    ],
)
def test_forms(url, path, options):
    """Triton's forms with an endpoint or an account, and those of fsspec."""
    address = RemoteAddress.parse(url)
    assert repository_place(url) == url
    assert (address.path, address.options) == (path, options)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///",
        "S3://bucket",
        "://x",
        "s3://b/../c",
        "s3://b//c",
        "https://h/a?signature=1",
    ],
)
def test_what_is_no_address(url):
    """Each is refused in one line."""
    with pytest.raises(ConfigurationError):
        RemoteAddress.parse(url)


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("/srv/models", "file:///folder"),
        ("S3://bucket", "s3://bucket/path"),
        ("s3://", "s3://bucket/path"),
        ("gs:///", "gs://BUCKET/PATH"),
        ("s3://http://h.org:1", "s3://http://h.org:1/BUCKET/PATH"),
        ("s3://h.org:9000/", "s3://h.org:9000/BUCKET/PATH"),
        ("as://account/", "as://account/BUCKET/PATH"),
    ],
)
def test_what_is_said_to_write_is_an_address(url, written):
    """With the endpoint or the account of what was given."""
    with pytest.raises(ConfigurationError, match="write ") as caught:
        RemoteAddress.parse(url)
    assert written in str(caught.value)
    assert RemoteAddress.parse(written).path


def test_a_password_is_not_shown():
    """Messages have the address without it."""
    assert RemoteAddress.parse("https://me:secret@example.org/a").shown == "https://example.org/a"


def test_paths_stay_paths():
    """What has no scheme is a path of this machine."""
    assert repository_place("models:1/a") == Path("models:1/a")
    assert repository_place("s3://bucket/a") == "s3://bucket/a"


@pytest.mark.parametrize(
    ("url", "missing", "cure"),
    [
        ("s3://bucket/a", "s3fs", "layer-zoo[s3]"),
        ("gs://bucket/a", "gcsfs", "layer-zoo[gs]"),
        ("az://bucket/a", "adlfs", "layer-zoo[az]"),
        ("https://example.org/a", "aiohttp", "layer-zoo[http]"),
        ("s3://bucket/a", "fsspec", "layer-zoo[s3]"),
        ("nonsense://bucket/a", "", "Protocol not known: nonsense"),
    ],
)
def test_a_missing_driver_is_named(url, missing, cure, tmp_path):
    """With the extra that brings it."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from zoo_server.errors import ConfigurationError\n"
        "from zoo_server.repository.remote.address import RemoteAddress\n"
        "from zoo_server.repository.remote.store import Store\n"
        f"try: Store(RemoteAddress.parse({url!r}))\n"
        "except ConfigurationError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert cure in ran.stdout
    assert missing in ran.stdout


class HostedFileSystem(MemoryFileSystem):
    """A driver that takes host and user of the URL, as those of ftp, sftp and hdfs do."""

    protocol = "hosted"
    store, pseudo_dirs, asked = {}, [""], []

    def __init__(self, host, username=None, **options):
        super().__init__(**options)
        self.asked.append((host, username))

    @classmethod
    def _strip_protocol(cls, path):
        place = infer_storage_options(path)["path"].strip("/")
        return f"/{place}" if place else ""

    @staticmethod
    def _get_kwargs_from_urls(path):
        read = infer_storage_options(path)
        return {key: read[key] for key in ("host", "username") if key in read}


@pytest.mark.parametrize(
    ("url", "folder"), [("hosted://me@host/models", "/models"), ("hosted://me@host", "")]
)
def test_another_scheme_is_read_by_its_driver(url, folder):
    """It gets host and user; files lie below the path that it makes of the URL."""
    fsspec.register_implementation("hosted", HostedFileSystem, clobber=True)
    HostedFileSystem.store.clear()
    HostedFileSystem.asked.clear()
    store = Store(RemoteAddress.parse(url))
    store.write("m/1/model.onnx", b"graph")

    assert HostedFileSystem.asked == [("host", "me")]
    assert [*HostedFileSystem.store] == [f"{folder}/m/1/model.onnx"]
    assert store.names() == ["m/"]
    assert [file.path for file in store.files()] == ["m/1/model.onnx"]
    assert store.read("m/1/model.onnx") == b"graph"


def test_a_driver_that_cannot_be_made_is_told_in_a_line(capsys):
    """It connects to nobody, or wants more than a URL has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"ftp://me:secret@127.0.0.1:{port}/models"
    assert main(["push", "m", url]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"'ftp://127.0.0.1:{port}/models' cannot be read: [Errno 111] Connection refused" in said
    with pytest.raises(ConfigurationError, match="missing 1 required positional argument: 'fo'"):
        Store(RemoteAddress.parse("reference://models"))
