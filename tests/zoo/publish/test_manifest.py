"""What a version says of itself, as far as it follows from values and files alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from zoo.publish.manifest import file_facts, write_manifest
from zoo_server.repository import layout


def test_every_file_has_its_checksum_and_size(tmp_path: Path) -> None:
    """By its path in the version's folder, in one order; folders are no files."""
    (tmp_path / "test_data_set_0").mkdir()
    (tmp_path / "test_data_set_0/input_0.pb").write_bytes(b"rows")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    facts = file_facts(tmp_path)

    assert list(facts) == ["model.onnx", "test_data_set_0/input_0.pb"]
    assert facts["model.onnx"] == {"sha256": hashlib.sha256(b"graph").hexdigest(), "bytes": 5}


def test_a_manifest_lists_what_lies_beside_it(tmp_path: Path) -> None:
    """And not itself: its own checksum cannot be in it."""
    (tmp_path / "model.onnx").write_bytes(b"graph")
    write_manifest(tmp_path, {"name": "mine"})
    values = json.loads((tmp_path / layout.MANIFEST_FILE).read_text())

    assert values["name"] == "mine"
    assert list(values["files"]) == ["model.onnx"]
