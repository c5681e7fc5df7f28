"""Buckets with more keys than a repository has: bounded time and memory, or one line that says so."""

import numpy as np
import pytest

from bench.many_keys import CREDENTIALS, ListingStore, many_models, one_folder, running
from tests.server.grpc_callers import serve_grpc
from tests.server.repository.remote.callers import index, load, look_twice
from zoo_server.errors import ConfigurationError
from zoo_server.repository.remote import pages
from zoo_server.repository.remote.pages import Page, TooManyObjects, read_files, read_names

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)

#: Requests of a listing that goes once past a folder of a million keys.
_PAST_A_FOLDER = 12


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Serve what a store has; its looks are the test's."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    def serve(store, mode):
        return serve_grpc(
            store.url,
            repository_cache=tmp_path / "cache",
            model_control_mode=mode,
            repository_poll_secs=3600,
        )

    return serve


def test_a_folder_of_a_million_keys_is_passed_over(start, graphs):
    """What lies before and after it is served, and it has a reason."""
    keys = ListingStore(one_folder(1_000_000), graphs.identity())
    with running(keys) as store, start(store, "poll") as wire:
        assert wire.infer("a", x=ROW)["y"].tolist() == ROW.tolist()
        assert wire.infer("z", x=ROW)["y"].tolist() == ROW.tolist()
        assert index(wire)["heap", ""][1] == "it has more than 10000 objects"
        store.pages = 0
        look_twice(wire)
        assert store.pages == 2 * _PAST_A_FOLDER


def test_more_keys_than_a_look_takes(start, graphs, monkeypatch):
    """The start says so; a model that is asked for by its name is served."""
    monkeypatch.setattr(pages, "MAX_OBJECTS", 5000)
    with running(ListingStore(many_models(1_000_000), graphs.identity())) as store:
        for mode in ("none", "poll"):
            store.pages = 0
            with pytest.raises(
                ConfigurationError, match="has more than 5000 objects: name the path"
            ):
                start(store, mode).__enter__()
            assert store.pages <= 7
        monkeypatch.setattr(pages, "MAX_OBJECTS", 200_000)
        store.pages = 0
        with start(store, "explicit") as wire:
            load(wire, "m00099999")
            assert wire.infer("m00099999", x=ROW)["y"].tolist() == ROW.tolist()
            assert store.pages < 120  # the models' names, a thousand at a time, and one model


def test_a_bucket_that_outgrows_a_look_while_it_is_served(start, graphs, monkeypatch):
    """What is loaded goes on, and index and metric tell of it."""
    keys = ListingStore(many_models(20), graphs.identity())
    with running(keys) as store, start(store, "poll") as wire:
        store.keys = many_models(1_000_000)
        monkeypatch.setattr(pages, "MAX_OBJECTS", 5000)
        look_twice(wire)
        assert "has more than 5000 objects" in wire.server.control.repository_problem
        assert wire.infer("m00000001", x=ROW)["y"].tolist() == ROW.tolist()


class Bucket:
    """Lists keys two at a time."""

    def __init__(self, *keys):
        self.keys = keys
        self.queries = []

    def split_path(self, path):
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def page(self, _, query):
        self.queries.append(query)
        keys = [key for key in self.keys if key.startswith(query.prefix)]
        keys = [key for key in keys if key > (query.after or query.token)]
        folders = []
        if query.delimiter:
            inner = [key.removeprefix(query.prefix) for key in keys]
            folders = sorted({query.prefix + k.partition("/")[0] + "/" for k in inner if "/" in k})
            keys = [key for key in keys if "/" not in key.removeprefix(query.prefix)]
        more = len(keys) > 2
        return Page(
            rows=[(key, 1, "tag") for key in keys[:2]],
            folders=folders if not query.token else (),
            token=keys[1] if more else "",
        )

    def files(self, root, folder=""):
        return [key for key, _, _ in read_files(self.page, self, root, folder)]

    def names(self, root):
        return read_names(self.page, self, root)


def test_pages_are_put_together():
    """All keys below the root, relative to it; the root's own key and hidden folders are none."""
    bucket = Bucket(
        "r/", "r/.git/a", "r/.git/b", "r/.git/c", "r/.git/d", "r/a/1/x", "r/b.onnx", "s/c"
    )
    assert bucket.files("bucket/r") == ["a/1/x", "b.onnx"]
    assert len(bucket.queries) == 2  # past the hidden folder at once
    assert bucket.files("bucket/r", "a") == ["a/1/x"]
    assert bucket.files("bucket") == list(bucket.keys)
    assert bucket.names("bucket/r") == [".git/", "a/", "b.onnx"]


def test_nothing_beside_a_large_folder_is_passed_over(monkeypatch):
    """Names that begin with its own sort before or after all that is in it."""
    monkeypatch.setattr(pages, "MAX_ENTRIES", 2)
    heap = [f"m/{number}" for number in range(10)]
    bucket = Bucket("m!/a", "m-2/a", *heap, "m0/a", "n/a")
    assert bucket.files("bucket") == ["m!/a", "m-2/a", *heap[:3], "m0/a", "n/a"]


@pytest.mark.parametrize("read", [Bucket.files, Bucket.names])
def test_a_listing_ends_at_its_bound(monkeypatch, read):
    """Whatever is still to come."""
    monkeypatch.setattr(pages, "MAX_OBJECTS", 6)
    bucket = Bucket(*(f"{number:03}" for number in range(100)))
    with pytest.raises(TooManyObjects):
        read(bucket, "bucket")
    assert len(bucket.queries) == 4
    monkeypatch.setattr(pages, "MAX_OBJECTS", 100)
    assert len(read(bucket, "bucket")) == 100
