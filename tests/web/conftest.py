"""A gallery of every model, built once; its runtime is a stand-in, which only a browser would run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Trained
from zoo.recipes.registry import Registry
from zoo.site import build
from zoo.site.build import Sources, build_site

STAND_IN = {"ort.mjs": b"export const env = {};", "ort.wasm.gz": b"\x1f\x8b"}


@pytest.fixture(scope="session")
def sources(trained: Trained) -> Sources:
    """What the gallery is built from."""
    return Sources(repository=trained.repository, runs=trained.runs, registry=Registry.default())


@pytest.fixture(scope="session")
def site(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the gallery."""
    output = tmp_path_factory.mktemp("gallery") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "runtime_files", lambda _: STAND_IN)
        build_site(sources, output)
        yield output
