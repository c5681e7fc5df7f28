"""Fetches onnxruntime-web, the runtime of the gallery's pages, from the npm registry; no Node is needed.

The package is pinned by version and checksum, and kept in the user's cache. Of its 33 MB the site takes
two files: the module, and the WebAssembly program, compressed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from zoo.errors import CheckFailed, UsageError, ZooError
from zoo.files import atomic_write

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"

#: As the registry's metadata gives it (dist.integrity).
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
REGISTRY = "https://registry.npmjs.org/"

#: The build for one thread or several on the CPU, its loader bundled; and its program.
MODULE, PROGRAM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"

_TIMEOUT_SECONDS = 60


def runtime_files(archive: Path | None = None) -> dict[str, bytes]:
    """Return the site's files of the runtime, by name: `ort.mjs` and `ort.wasm.gz`.

    `archive` is the package's tarball, for a machine without network; else the cache or the registry
    has it. Raises UsageError, CheckFailed for a wrong checksum, ZooError for no network.
    """
    content = _given(archive) if archive else _cached_or_downloaded()
    with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as package:
        module, program = (_member(package, name) for name in (MODULE, PROGRAM))
    # A static host need not know how to compress: the page unpacks it.
    return {"ort.mjs": module, "ort.wasm.gz": gzip.compress(program, 9, mtime=0)}


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


def _given(archive: Path) -> bytes:
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise UsageError(f"--runtime-archive {archive}: {error.strerror}") from error
    _check(content, str(archive))
    return content


def _cached_or_downloaded() -> bytes:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layer-zoo" / ARCHIVE
    if cache.is_file() and _integrity(content := cache.read_bytes()) == INTEGRITY:
        return content
    url = f"{registry(os.environ, Path.home())}{PACKAGE}/-/{ARCHIVE}"
    content = _download(url)
    _check(content, url)
    cache.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(cache, content)
    return content


def _download(url: str) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"the npm registry is {url!r}: give an http address")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise ZooError(
            f"{PACKAGE} {VERSION} could not be fetched from the npm registry ({reason}): fetch it "
            f"elsewhere with `npm pack {PACKAGE}@{VERSION}`, and give it as --runtime-archive {ARCHIVE}"
        ) from error


def _check(content: bytes, source: str) -> None:
    seen = _integrity(content)
    if seen != INTEGRITY:
        raise CheckFailed(
            f"{source} is not {PACKAGE} {VERSION} as published: its integrity is {seen}, and it "
            f"should be {INTEGRITY}"
        )


def _integrity(content: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def _member(package: tarfile.TarFile, name: str) -> bytes:
    stream = package.extractfile(f"package/dist/{name}")
    assert stream is not None  # the checksum has vouched for the archive
    return stream.read()
