"""A server whose repository lies in an object store: what it serves, reads and keeps."""

import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.server.grpc_callers import serve_grpc
from tests.server.repository.remote.callers import index, load, look_twice
from zoo_proto import grpc_service_pb2 as pb

ROW = np.array([[1, 2, 3, 4]], np.float32)


def test_a_repository_of_tritons_layout_is_served(stored, serve, graphs):
    """Models, labels, versions and bare files are as on disk; only what is served is read."""
    stored.put("bare.onnx", graphs.identity())
    stored.put("m/.hidden/x", b"no model's")
    stored.put("m/2/model.keras", b"what it was exported from")
    with serve() as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        assert wire.infer("bare", x=ROW)["y"].tolist() == ROW.tolist()
        assert list(index(wire)) == [("bare", "1"), ("m", "2")]
    assert stored.reads() == [
        "bare.onnx",
        "m/2/model.onnx",
        "m/config.pbtxt",
        "m/labels.txt",
    ]


def test_a_second_start_reads_nothing(stored, serve):
    """What is in the cache and has not changed is not read again."""
    with serve():
        stored.reads()
    with serve() as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert stored.reads() == []


def test_explicit_mode_reads_what_is_asked_for(stored, serve, graphs):
    """Neither the start nor the index reads an object, and a load lists its own model alone."""
    for number in range(3):
        stored.put(f"other{number}/1/model.onnx", graphs.identity())
    with serve("explicit") as wire:
        assert sorted(index(wire)) == [("m", ""), *((f"other{n}", "") for n in range(3))]
        assert stored.reads() == []
        load(wire, "other1")
        assert len(stored.listings()) == 2  # before the read, and after it
        assert stored.reads() == ["other1/1/model.onnx"]
        assert wire.infer("other1", x=ROW)["y"].tolist() == ROW.tolist()


def test_polling_reads_what_changed_alone(stored, serve, graphs):
    """A look that finds nothing new is a listing; a new version is read by itself."""
    with serve("poll") as wire:
        stored.reads()
        look_twice(wire)
        assert (len(stored.listings()), stored.reads()) == (2, [])

        stored.put("m/3/model.onnx", graphs.identity())
        stored.put("new/1/model.onnx", graphs.identity())
        look_twice(wire)
        assert stored.reads() == ["m/3/model.onnx", "new/1/model.onnx"]
        assert [key for key, row in index(wire).items() if row[0] == "READY"] == [
            ("m", "3"),
            ("new", "1"),
        ]

        stored.put("m/3/model.onnx", graphs.with_default())  # another etag, and another size
        stored.remove("new")
        look_twice(wire)
        assert stored.reads() == ["m/3/model.onnx"]
        assert index(wire)["new", "1"] == ("UNAVAILABLE", "unloaded")


def test_a_version_appears_with_its_marker(stored, serve, graphs):
    """A version that is being uploaded is not there; one that was given up never is."""
    with serve("poll") as wire:
        stored.put("m/3/.upload", "{}")
        stored.put("m/3/model.onnx", graphs.identity())
        stored.put("first/1/.upload", "{}")
        stored.put("first/1/model.onnx", graphs.identity())
        look_twice(wire)
        assert list(index(wire)) == [("m", "2")]

        stored.put("m/3/.complete", '{"files": {}}')
        look_twice(wire)
        assert [key for key, row in index(wire).items() if row[0] == "READY"] == [("m", "3")]


def test_a_wrong_checksum_is_refused(stored, serve, graphs):
    """A version whose files are not what was published is not served, and its model's others are."""
    cases = {
        "sum": (".complete", '{"files": {"model.onnx": {"sha256": "00"}}}', "not the checksum"),
        "manifest": ("manifest.json", '{"files": {"model.onnx": {"sha256": "00"}}}', "checksum"),
        "part": (".complete", '{"files": {"w.bin": {"sha256": "00"}}}', "w.bin is missing"),
        "damaged": (".complete", "not JSON", "is damaged"),
    }
    for name, (file, content, _) in cases.items():
        stored.put(f"{name}/1/model.onnx", graphs.identity())
        stored.put(f"{name}/1/{file}", content)
    with serve() as wire:
        reasons = {name: reason for (name, _), (_, reason) in index(wire).items()}
        for name, (_, _, reason) in cases.items():
            assert reason in reasons[name]
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_a_key_that_is_no_path_is_refused(stored, serve, tmp_path):
    """Its model is not served, the others are, and nothing is written outside of the cache."""
    cases = {
        "up/1/../../../evil": "leads out",
        "here/./x": "leads out",
        "empty//x": "leads out",
        "long/1/" + "x" * 300: "no file can have",
        "tab\tname/1/model.onnx": "control",
    }
    for key in cases:
        stored.put(key, b"x")
    with serve("poll") as wire:
        reasons = {name: reason for (name, _), (_, reason) in index(wire).items()}
        for key, reason in cases.items():
            assert reason in reasons[key.partition("/")[0]]
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert not list(tmp_path.rglob("evil"))


def test_special_names(s3, serve, graphs):
    """Names that file systems can hold are served."""
    names = ["späß ☃", "a b", "100% [x]*?#&=+'", "~user"]
    for name in names:
        s3.put(f"{name}/1/model.onnx", graphs.identity())
    with serve() as wire:
        for name in names:
            assert wire.infer(name, x=ROW)["y"].tolist() == ROW.tolist()


def test_ensembles_and_placeholders(stored, serve):
    """An empty version folder is an object that ends in a slash, or a hidden file in it."""
    ensemble = (
        'platform: "ensemble" max_batch_size: 4 input [{ name: "X" data_type: TYPE_FP32 dims: [ 4 ] }]'
        ' output [{ name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }] ensemble_scheduling { step {'
        ' model_name: "m" model_version: -1 input_map { key: "x" value: "X" }'
        ' output_map { key: "y" value: "Y" } } }'
    )
    for name, placeholder in (("one", "1/"), ("two", "1/.keep")):
        stored.put(f"{name}/config.pbtxt", ensemble)
        stored.put(f"{name}/{placeholder}", b"")
    with serve() as wire:
        for name in ("one", "two"):
            assert wire.infer(name, X=ROW)["Y"].tolist() == ROW.tolist()


def test_the_cache_keeps_what_is_loaded(s3, serve, graphs, tmp_path):
    """What was used longest ago leaves for the next, a loaded version never does."""
    graph = graphs.identity()
    for name in ("a", "b", "c"):
        s3.put(f"{name}/1/model.onnx", graph)
    with serve("explicit", repository_cache_bytes=2 * len(graph)) as wire:
        load(wire, "a")
        load(wire, "b")
        with pytest.raises(grpc.RpcError) as raised:
            load(wire, "c")
        assert "raise --repository-cache-bytes" in raised.value.details()
        wire.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="a"))
        load(wire, "c")
        assert wire.infer("b", x=ROW)["y"].tolist() == ROW.tolist()
        s3.reads()
        wire.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="c"))
        load(wire, "a")
        assert s3.reads() == ["a/1/model.onnx"]
    assert sum(path.stat().st_size for path in Path(tmp_path / "cache").rglob("*.onnx")) == 2 * len(
        graph
    )


def test_what_found_no_room_is_tried_again(s3, serve, graphs):
    """Poll mode loads it once something else has made room."""
    graph = graphs.identity()
    s3.put("a/1/model.onnx", graph)
    with serve("poll", repository_cache_bytes=len(graph)) as wire:
        s3.put("b/1/model.onnx", graph)
        look_twice(wire)
        assert "raise --repository-cache-bytes" in index(wire)["b", "1"][1]
        s3.remove("a")
        look_twice(wire)
        look_twice(wire)
        assert index(wire)["b", "1"] == ("READY", "")


def test_a_load_lists_its_own_model(s3, serve, graphs):
    """The others' keys are not looked at, however many they are."""
    s3.put("m/1/model.onnx", graphs.identity())
    s3.put_empty(f"heap/1/{number}" for number in range(200))
    with serve("explicit") as wire:
        (start,) = s3.listings()
        assert "delimiter=/" in start
        s3.reads()
        load(wire, "m")
        assert all("prefix=models/m/" in listing for listing in s3.listings())


@pytest.mark.slow
def test_a_store_with_many_keys(s3, serve, graphs):
    """A look takes pages of a thousand; a model with more objects than are looked at has a reason."""
    s3.put("m/1/model.onnx", graphs.identity())
    s3.put_empty(f"heap/1/{number}" for number in range(10_001))
    with serve("poll") as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        assert index(wire)["heap", ""][1] == "it has more than 10000 objects"


def test_a_folder_by_url_is_a_repository(repository, graphs, tmp_path):
    """Any scheme of fsspec's is served, this machine's files by URL among them."""
    repository.add("m", graphs.identity())
    with serve_grpc(repository.path.as_uri(), repository_cache=tmp_path / "cache") as wire:
        shutil.rmtree(repository.path)  # it is read from the cache
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
