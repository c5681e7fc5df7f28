"""The browser's runtime: where it is fetched from, and that only the pinned bytes are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import CheckFailed, UsageError
from zoo.site.npm import REGISTRY, registry
from zoo.site.runtime import runtime_files


def test_the_registry_is_npm_s_own_unless_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry({}, tmp_path) == REGISTRY
    (tmp_path / ".npmrc").write_text("audit=false\nregistry = https://npm.example.org/mirror\n")
    assert registry({}, tmp_path) == "https://npm.example.org/mirror/"
    assert registry({"npm_config_registry": "http://other/"}, tmp_path) == "http://other/"


def test_an_archive_with_other_bytes_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "onnxruntime-web.tgz"
    wrong.write_bytes(b"not it")
    with pytest.raises(CheckFailed, match=r"is not onnxruntime-web .* as published"):
        runtime_files(wrong)


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--runtime-archive .*none\.tgz: No such file"):
        runtime_files(tmp_path / "none.tgz")
