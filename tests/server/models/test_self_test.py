"""The self-test at load: vectors are read without the onnx package, and wrong answers refused."""

import json
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DATA_TYPES, DataType
from zoo_server.errors import ModelLoadError
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.tensor_file import parse_tensor
from zoo_server.repository.vectors import Tolerance, read_tolerance, read_vectors

ELEMENTS = {
    "BOOL": [True, False, True],
    "BYTES": ["", "a", "grün"],
    "FP16": [1.5, -2.0, 65504.0],
    "BF16": [1.5, -2.0, 0.25],
    "FP32": [1.5, float("nan"), -3.4e38],
    "FP64": [1.5, float("inf"), 1e-300],
    "INT64": [-(2**63), 0, 2**63 - 1],
    "UINT64": [0, 1, 2**64 - 1],
    "UINT32": [0, 1, 2**32 - 1],
}
SMALL = {"INT8": 7, "UINT8": 8, "INT16": 15, "UINT16": 16, "INT32": 31}
ELEMENTS |= {
    name: [-(2**bits) if name[0] == "I" else 0, 1, 2**bits - 1] for name, bits in SMALL.items()
}


def _write(path: Path, proto: onnx.TensorProto) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("row", "raw"),
    # ONNX keeps words out of raw_data.
    [
        (row, raw)
        for row in DATA_TYPES
        for raw in (False, True)
        if not (raw and row.wire == "BYTES")
    ],
    ids=lambda value: value.wire if isinstance(value, DataType) else ("typed", "raw")[value],
)
def test_a_tensor_reads_as_onnx_reads_it(tmp_path, row, raw):
    """Every served element type, in its typed field and in raw_data, bit for bit."""
    values = ELEMENTS[row.wire]
    proto = helper.make_tensor(
        "x", row.onnx_enum, [3, 1], [v.encode() if isinstance(v, str) else v for v in values]
    )
    wanted = numpy_helper.to_array(proto)
    if raw:
        proto = numpy_helper.from_array(wanted, "x")
    name, array = parse_tensor(proto.SerializeToString())

    assert (name, array.shape, array.dtype) == ("x", (3, 1), row.numpy)
    if row.wire == "BYTES":
        assert array.ravel().tolist() == values
    else:
        assert array.tobytes() == wanted.tobytes()


def test_scalars_and_empty_tensors_have_their_shape(tmp_path):
    """No dimension is one element; a dimension of 0 is none."""
    for array in (np.float32(3).reshape(()), np.zeros((0, 4), np.int64)):
        _, read = parse_tensor(numpy_helper.from_array(array).SerializeToString())
        assert (read.shape, read.dtype) == (array.shape, array.dtype)


def _broken() -> dict[str, tuple[bytes, str]]:
    external = helper.make_tensor("x", TensorProto.FLOAT, [2], [1, 2])
    external.data_location = TensorProto.EXTERNAL
    words = TensorProto(data_type=TensorProto.STRING, dims=[1], raw_data=b"ab")
    counts = TensorProto(data_type=TensorProto.FLOAT, dims=[3], float_data=[1.0])
    few = TensorProto(data_type=TensorProto.STRING, dims=[2], string_data=[b"a"])
    range_ = TensorProto(data_type=TensorProto.INT8, dims=[1], int32_data=[300])
    huge = TensorProto(data_type=TensorProto.FLOAT, dims=[2**40, 2**40], raw_data=b"")
    whole = numpy_helper.from_array(np.zeros(9, np.float32)).SerializeToString()
    return {
        "garbage": (b"\x07garbage", "not a TensorProto"),
        "cut": (whole[:-1], "not a TensorProto"),
        "empty": (b"", "element type 0"),
        "external": (external.SerializeToString(), "in another file"),
        "complex": (
            TensorProto(data_type=TensorProto.COMPLEX64, dims=[1]).SerializeToString(),
            "element type 14",
        ),
        "words": (words.SerializeToString(), "words in raw_data"),
        "counts": (counts.SerializeToString(), "1 elements, and its shape is [3]"),
        "few": (few.SerializeToString(), "1 words where its shape needs 2"),
        "range": (range_.SerializeToString(), "INT8 cannot hold its elements"),
        "huge": (huge.SerializeToString(), "more than"),
    }


@pytest.mark.parametrize("name", _broken())
def test_what_is_no_tensor_is_refused_by_reason(tmp_path, name):
    """One line, for whoever made the file."""
    content, reason = _broken()[name]
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    (folder / "input_0.pb").write_bytes(content)

    with pytest.raises(ModelLoadError) as caught:
        read_vectors(Confinement(tmp_path), tmp_path)
    assert str(caught.value).startswith("test_data_set_0/input_0.pb: ")
    assert reason in str(caught.value)


def test_sets_and_tensors_come_in_the_order_of_their_numbers(tmp_path):
    """10 after 9, whatever the file system says."""
    for number in (10, 2, 0):
        folder = tmp_path / f"test_data_set_{number}"
        for position in (0, 10, 9):
            array = np.full(1, position, np.float32)
            _write(folder / f"input_{position}.pb", numpy_helper.from_array(array))
        _write(folder / "output_0.pb", numpy_helper.from_array(array))
    sets = read_vectors(Confinement(tmp_path), tmp_path)

    assert [item.name for item in sets] == [f"test_data_set_{n}" for n in (0, 2, 10)]
    assert [float(array[0]) for _, array in sets[0].inputs] == [0, 9, 10]


def _vectors(
    version: Path, rows: np.ndarray, wanted: np.ndarray, names: tuple[str, str] = ("x", "y")
) -> None:
    number = len(list(version.glob("test_data_set_*")))
    folder = version / f"test_data_set_{number}"
    _write(folder / "input_0.pb", numpy_helper.from_array(rows, names[0]))
    _write(folder / "output_0.pb", numpy_helper.from_array(wanted, names[1]))


ROW = np.array([[1.0, np.nan, -np.inf, 1e-30]], np.float32)


def test_wrong_answers_keep_a_model_from_being_served(repository, graphs, serve, caplog):
    """It is UNAVAILABLE with the place; right, untested and unnamed ones are served."""
    caplog.set_level(logging.INFO, "zoo_server")
    right, wrong = repository.add("right", graphs.identity()), ROW.copy()
    wrong[0, 3] = 1.0
    _vectors(right / "1", ROW, ROW)
    _vectors(right / "1", np.tile(ROW, (7, 1)), np.tile(ROW, (7, 1)))
    _vectors(repository.add("unnamed", graphs.identity()) / "1", ROW, ROW, ("", ""))
    _vectors(repository.add("wrong", graphs.identity()) / "1", ROW, wrong)
    _vectors(repository.add("shape", graphs.identity()) / "1", ROW, ROW[:, :3])
    _vectors(repository.add("input", graphs.identity()) / "1", ROW, ROW, ("z", "y"))
    _vectors(repository.add("output", graphs.identity()) / "1", ROW, ROW, ("x", "z"))
    repository.add("untested", graphs.identity())
    with serve(repository.path, self_test=True) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        entries = {entry.name: entry for entry in index}
        served = {name for name, entry in entries.items() if entry.state == "READY"}
        assert served == {"right", "unnamed", "untested"}
        assert wire.infer("right", x=np.ones((1, 4), np.float32))["y"].tolist() == [[1] * 4]

    assert entries["wrong"].reason == (
        "self-test: test_data_set_0, output 'y': 1e-30 instead of 1.0 at [0, 3], 1 of 4 elements"
    )
    assert "float32[1, 4] instead of float32[1, 3]" in entries["shape"].reason
    assert "self-test: test_data_set_0 cannot be run" in entries["input"].reason
    assert "self-test: test_data_set_0 cannot be run" in entries["output"].reason
    assert (
        "model 'right' version 1: self-test: 2 sets of test vectors answered right" in caplog.text
    )
    assert "model 'untested' version 1: self-test: no test vectors" in caplog.text


def test_nothing_is_tested_unless_asked_for(repository, graphs, serve):
    """A folder made for another server may hold vectors that mean something else."""
    _vectors(repository.add("wrong", graphs.identity()) / "1", ROW, ROW * 2)
    with serve(repository.path) as wire:
        assert wire.infer("wrong", x=np.ones((1, 4), np.float32))["y"].shape == (1, 4)


def test_words_are_compared_as_words(repository, graphs, serve):
    """And integers and truth values by value."""
    for name, kind, array in (
        ("words", TensorProto.STRING, np.array([["a", "ü", "", "b"]], object)),
        ("counts", TensorProto.INT64, np.array([[1, 2, 3, 2**53]], np.int64)),
        ("truth", TensorProto.BOOL, np.array([[True, False, True, True]])),
    ):
        _vectors(repository.add(name, graphs.identity(kind)) / "1", array, array)
        other = array.copy()
        other[0, 1] = other[0, 0]
        _vectors(repository.add(f"{name}_wrong", graphs.identity(kind)) / "1", array, other)
    with serve(repository.path, self_test=True) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        ready = {entry.name for entry in index if entry.state == "READY"}
    assert ready == {"words", "counts", "truth"}


@pytest.mark.parametrize(
    ("manifest", "delta", "served"),
    [
        (None, 5e-5, True),
        (None, 5e-4, False),
        ({"tolerance": {"scaled": 1e-6, "relative": 1e-5}}, 5e-5, False),
        ({"tolerance": {"scaled": 1e-2, "relative": 0.0}}, 5e-4, True),
        ({"somebody": "else's"}, 5e-5, True),
    ],
)
def test_the_bound_is_the_one_it_was_published_under(
    repository, graphs, serve, manifest, delta, served
):
    """What the manifest says, else a hundredth of a percent of the largest answer."""
    folder = repository.add("m", graphs.identity()) / "1"
    ones = np.ones((1, 4), np.float32)
    _vectors(folder, ones, ones + np.float32(delta))
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    with serve(repository.path, self_test=True) as wire:
        assert wire.server.catalog.is_ready() is served


def test_a_variant_that_is_not_meant_to_be_equal_is_not_tested(tmp_path):
    """Each file of a version has the tolerance that its own entry gives; an inexact one has none."""
    variants = [
        {"file": "model.portable.onnx", "exact": True, "tolerance": {"scaled": 1, "relative": 2}},
        {"file": "model.int8.onnx", "exact": False},
        {"file": "model.other.onnx", "reason": "there is none"},
    ]
    manifest = {"tolerance": {"scaled": 3, "relative": 4}, "variants": variants}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    def tolerance(name: str) -> Tolerance | None:
        return read_tolerance(Confinement(tmp_path), tmp_path / name)

    assert tolerance("model.onnx") == Tolerance(scaled=3, relative=4)
    assert tolerance("model.portable.onnx") == Tolerance(scaled=1, relative=2)
    assert tolerance("model.int8.onnx") is None
    assert tolerance("model.other.onnx") == Tolerance()
