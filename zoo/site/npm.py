"""Fetches packages from the npm registry that npm is set up with, without Node.

A package is pinned by version and checksum, and its tarball kept in the user's cache.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from zoo.errors import CheckFailed, UsageError, ZooError
from zoo.files import atomic_write

REGISTRY = "https://registry.npmjs.org/"

_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Package:
    """A package of one version; `integrity` is as the registry gives it (dist.integrity)."""

    name: str
    version: str
    integrity: str

    @property
    def archive(self) -> str:
        """Return the name of its tarball."""
        return f"{self.name}-{self.version}.tgz"

    def files(self, names: tuple[str, ...], archive: Path | None = None) -> list[bytes]:
        """Return files of the package by their paths in it.

        `archive` is the tarball, for a machine without network; else the cache or the registry has
        it. Raises UsageError, CheckFailed for a wrong checksum, ZooError for no network.
        """
        content = self._from_file(archive) if archive else self._cached_or_downloaded()
        with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as package:
            return [_member(package, name) for name in names]

    def _from_file(self, archive: Path) -> bytes:
        try:
            content = archive.read_bytes()
        except OSError as error:
            raise UsageError(f"--runtime-archive {archive}: {error.strerror}") from error
        self._check(content, str(archive))
        return content

    def _cached_or_downloaded(self) -> bytes:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layer-zoo"
        cache = folder / self.archive
        if cache.is_file() and _integrity(content := cache.read_bytes()) == self.integrity:
            return content
        url = f"{registry(os.environ, Path.home())}{self.name}/-/{self.archive}"
        content = self._download(url)
        self._check(content, url)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(cache, content)
        return content

    def _download(self, url: str) -> bytes:
        if not url.startswith(("https://", "http://")):
            raise UsageError(
                f"the npm registry is {url!r}: set npm_config_registry to an http address"
            )
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except (urllib.error.URLError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
            raise ZooError(
                f"{self.name} {self.version} could not be fetched from the npm registry ({reason}): "
                f"fetch it elsewhere with `npm pack {self.name}@{self.version}`, and give it as "
                f"--runtime-archive {self.archive}"
            ) from error

    def _check(self, content: bytes, source: str) -> None:
        seen = _integrity(content)
        if seen != self.integrity:
            raise CheckFailed(
                f"{source} is not {self.name} {self.version} as published: its integrity is {seen}, "
                f"and it should be {self.integrity}"
            )


def registry(environ: Mapping[str, str], home: Path) -> str:
    """Return the npm registry that this machine is set up with, npm's own without any."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if environ.get(name):
            return _folder(environ[name])
    for file in (Path(".npmrc"), home / ".npmrc"):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            key, _, value = line.partition("=")
            if key.strip() == "registry" and value.strip():
                return _folder(value.strip().strip("\"'"))
    return REGISTRY


def _folder(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _member(package: tarfile.TarFile, name: str) -> bytes:
    stream = package.extractfile(f"package/{name}")
    assert stream is not None  # the checksum has vouched for the archive
    return stream.read()
