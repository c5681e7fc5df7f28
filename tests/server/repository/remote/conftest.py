"""A bucket with a model, and servers of it."""

import pytest

from tests.server.grpc_callers import serve_grpc

LABELLED = (
    'max_batch_size: 4 output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ]'
    ' label_filename: "labels.txt" }]'
)


@pytest.fixture
def serve(s3, tmp_path):
    """Serve the bucket; the server's own looks are an hour apart."""

    def start(mode="none", **options):
        return serve_grpc(
            s3.url,
            repository_cache=tmp_path / "cache",
            model_control_mode=mode,
            repository_poll_secs=3600,
            **options,
        )

    return start


@pytest.fixture
def stored(s3, repository, graphs):
    """The bucket with the model m, of two versions, labels and a configuration."""
    folder = repository.add("m", graphs.identity(), LABELLED)
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")
    repository.add("m", graphs.identity(), LABELLED, version=2)
    s3.copy(repository.path)
    return s3
