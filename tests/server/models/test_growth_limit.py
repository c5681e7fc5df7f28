"""Small graphs that want more memory than there is are refused, and the server lives."""

import resource

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.server.models.control_calls import ROW, index
from zoo_server.models.growth_limit import GrowthLimit
from zoo_server.telemetry.memory import available_bytes, data_bytes


def wanting(graphs, elements):
    """y = x + the sum of so many zeros, in 150 bytes."""
    return graphs.model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ],
        [graphs.value("x", TensorProto.FLOAT, ["batch", 4])],
        [graphs.value("y", TensorProto.FLOAT, ["batch", 4])],
        (numpy_helper.from_array(np.array([elements], np.int64), "shape"),),
    )


def test_what_wants_more_memory_than_there_is(repository, graphs, serve):
    """It has a reason, the others are served, and the limit goes with the load."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    repository.add("wants", wanting(graphs, 2**40))
    repository.add("m", graphs.identity())
    with serve(repository.path) as wire:
        reasons = {name: reason for name, _, _, reason in index(wire)}
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()

    assert "a run of one row wants more memory than there is" in reasons["wants"]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_the_limit_is_what_is_left():
    """While a load runs no allocation goes beyond it, and several loads share one limit."""
    limit, before = GrowthLimit(), resource.getrlimit(resource.RLIMIT_DATA)
    with limit.applied():
        with limit.applied():
            soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
            assert soft <= data_bytes() + available_bytes() + (1 << 30)
            with pytest.raises(MemoryError):
                np.empty(available_bytes() + (1 << 30), np.uint8)
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == soft
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


FILES = {
    "/proc/meminfo": "MemTotal: 8 kB\nMemAvailable:    1000 kB\n",
    "/proc/self/cgroup": "0::/a/b\n",
}
V2 = {
    "/sys/fs/cgroup/a/b/memory.max": "max\n",
    "/sys/fs/cgroup/a/b/memory.current": "5\n",
    "/sys/fs/cgroup/a/memory.max": "600000\n",
    "/sys/fs/cgroup/a/memory.current": "200000\n",
    "/sys/fs/cgroup/a/memory.stat": "anon 3\ninactive_file 50000\n",
}
V1 = {
    "/proc/self/cgroup": "4:memory:/a\n",
    "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": "300000\n",
    "/sys/fs/cgroup/memory/a/memory.usage_in_bytes": "100000\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "100000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [({}, None), (FILES, 1_024_000), (FILES | V2, 450_000), (FILES | V1, 200_000)],
)
def test_what_is_available(files, expected):
    """The least of the machine's and of what each cgroup leaves, whose caches count as free."""
    assert available_bytes(lambda path: files.get(path, "")) == expected
