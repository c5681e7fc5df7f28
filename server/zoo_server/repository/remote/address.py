"""Reads the address of a repository that is no folder of this machine.

s3://BUCKET/PATH
s3://HOST:PORT/BUCKET/PATH             an S3-compatible store, over HTTP; so Triton writes it
s3://https://HOST:PORT/BUCKET/PATH     likewise, over HTTPS
as://ACCOUNT/CONTAINER/PATH            Azure, as Triton writes it
gs://… az://… https://…                as fsspec writes them

Of any other scheme fsspec itself reads the URL (server/zoo_server/repository/remote/driver.py).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from zoo_server.errors import ConfigurationError

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")

_ENDPOINT = re.compile(r"(https?://)?([^/@\s]+:\d+)(?:/(.*))?")

#: Of each scheme: the package that speaks it, and our extra that brings it.
DRIVERS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
    "az": ("adlfs", "az"),
    "abfs": ("adlfs", "az"),
    "abfss": ("adlfs", "az"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}


def default_cache() -> Path:
    """Return the folder that files of such repositories are kept in, of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "layer-zoo" / "repositories"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAddress:
    """Where a repository lies, as fsspec takes it."""

    #: What people are shown: without a password.
    shown: str
    #: As it was given, with a password if it has one.
    url: str = field(repr=False)
    scheme: str
    #: Of the repository's root; of a web server the whole URL. Without a slash at its end.
    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a URL says; ConfigurationError if it names no place."""
        match = _URL.fullmatch(text)
        if match is None:
            raise ConfigurationError(
                f"'{text}' is no URL of a repository: write SCHEME://PLACE, such as s3://bucket/path or "
                "file:///folder"
            )
        scheme, place = match.groups()
        shown = re.sub(r"//[^/@]*@", "//", text).rstrip("/")
        options: dict[str, str] = {}
        if scheme == "s3" and (endpoint := _ENDPOINT.fullmatch(place)):
            protocol, host, place = endpoint.groups(default="")
            options["endpoint_url"] = f"{protocol or 'http://'}{host}"
        elif scheme == "as":
            scheme, (account, _, place) = "az", place.partition("/")
            options["account_name"] = account
        if scheme in ("http", "https"):
            if "?" in place or "#" in place:
                raise ConfigurationError(f"'{shown}' has a query: a repository's URL is a path")
            place = f"{scheme}://{place}"
        elif "//" in place.strip("/") or {".", ".."} & set(place.split("/")):
            raise ConfigurationError(f"'{shown}' is no plain path: write SCHEME://BUCKET/PATH")
        path = place.rstrip("/")
        if not path.strip("/"):
            begin = f"{shown}/" if "//" in shown else f"{shown}//"
            raise ConfigurationError(f"'{shown}' names no bucket: write {begin}BUCKET/PATH")
        return cls(shown=shown, url=text, scheme=scheme, path=path, options=options)
