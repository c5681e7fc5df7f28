"""The address of a remote repository: what each form means, and which are none."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo_server.config import repository_place
from zoo_server.errors import ConfigurationError
from zoo_server.repository.remote.address import RemoteAddress


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
