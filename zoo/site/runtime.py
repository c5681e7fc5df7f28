"""The runtime of the gallery's pages: two files of onnxruntime-web's 33 MB."""

from __future__ import annotations

import gzip
from pathlib import Path

from zoo.site.npm import Package

RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)

#: The build for the CPU with its loader bundled, and its program.
FILES = ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm")


def runtime_files(archive: Path | None = None) -> dict[str, bytes]:
    """Return the site's files of the runtime, by name: `ort.mjs` and `ort.wasm.gz`.

    Raises what `zoo.site.npm.Package.files` does.
    """
    module, program = RUNTIME.files(FILES, archive)
    # A static host need not know how to compress: the page unpacks it.
    return {"ort.mjs": module, "ort.wasm.gz": gzip.compress(program, 9, mtime=0)}
