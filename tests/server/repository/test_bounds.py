"""Every number of config.pbtxt at its extremes: a one-line reason, or a model that costs nothing."""

import math
import tracemalloc

import pytest
from google.protobuf.descriptor import FieldDescriptor

from zoo_proto import model_config_pb2
from zoo_server.datatypes import TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.repository import config_pbtxt
from zoo_server.repository.autocomplete import Signature, complete, settings_of
from zoo_server.repository.bounds import BOUNDS, is_number, row_name
from zoo_server.repository.confinement import Confinement
from zoo_server.repository.scan import ModelFiles
from zoo_server.repository.session_settings import session_settings
from zoo_server.schedulers.batch_queue import RequestQueue

FP32 = by_config("TYPE_FP32")

#: A graph with a state, a control input and a row that batches.
SIGNATURE = Signature(
    inputs=tuple(
        TensorSpec(name=name, datatype=FP32, shape=("batch", None), has_default=False)
        for name in ("x", "before", "start")
    ),
    outputs=tuple(
        TensorSpec(name=name, datatype=FP32, shape=("batch", None), has_default=False)
        for name in ("y", "after")
    ),
)

#: What a number needs beside it to be looked at at all, by a piece of its path.
AROUND = {
    "sequence_batching": 'sequence_batching { state { input_name: "before" output_name: "after" '
    'data_type: TYPE_FP32 dims: [ 1 ] } control_input { name: "start" control { '
    "fp32_false_true: [ 0, 1 ] } } }",
    "priority": "dynamic_batching { priority_levels: 2 default_priority_level: 1 }",
}


def numbers(descriptor=model_config_pb2.ModelConfig.DESCRIPTOR, path=()):
    """Yield the path of every numeric field."""
    for field in descriptor.fields:
        if is_number(field):
            yield (*path, field)
        elif field.message_type is not None:
            inner = field.message_type
            if inner.GetOptions().map_entry:
                inner = inner.fields_by_name["value"].message_type
            if inner is not None:
                yield from numbers(inner, (*path, field))


PATHS = list(numbers())


def put(message, path, value):
    """Set a number at the end of a path; False if its type does not hold the value."""
    field, *rest = path
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    here = getattr(message, field.name)
    try:
        if rest:
            if is_map:
                here = here["x"]
            elif field.is_repeated:
                here = here[0] if len(here) else here.add()
            else:
                here.SetInParent()
            return put(here, rest, value)
        if is_map:
            here[value].SetInParent()
        elif field.is_repeated:
            here[:] = [value] * 2 if field.name.endswith("false_true") else [value]
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


VALUES = (0, -1, 1, 1001, 2**31 - 1, 2**32 - 1, -(2**63), 2**63 - 1, 2**64 - 1, math.nan, math.inf)


def load(config, tmp_path):
    """Go the way of a load up to the graph: read, complete, check, and make the queue."""
    file = tmp_path / "config.pbtxt"
    file.write_text(str(config))
    files = ModelFiles(
        name="m",
        folder=tmp_path,
        versions=(1,),
        config_file=file,
        confinement=Confinement(tmp_path),
    )
    written = config_pbtxt.read(files).config
    config_pbtxt.choose_versions(written, files.versions)
    full, _ = complete("m", written, SIGNATURE, batching_written=True)
    settings = settings_of(full, SIGNATURE, version=1, read_labels=lambda _: ())
    RequestQueue(settings.batching)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(step.name for step in path))
def test_a_number_at_its_extremes(path, tmp_path):
    """It has a row, and each value is refused in one line or takes next to no memory."""
    assert row_name(path[-1]) in BOUNDS
    for value in VALUES:
        config = model_config_pb2.ModelConfig(max_batch_size=4)
        for part, text in AROUND.items():
            if any(part in step.name for step in path):
                config.MergeFrom(text_config(text))
        whole = path[-1].cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
        if isinstance(value, float) and not whole:
            continue
        if not put(config, path, value):
            continue
        reason, peak = loaded(config, tmp_path)
        assert "\n" not in reason
        assert len(reason) < 400
        assert peak < 2**20, (value, peak)


def loaded(config, tmp_path):
    """Load and return the reason why that failed, if it did, and the memory that it took."""
    reason = ""
    tracemalloc.start()
    try:
        load(config, tmp_path)
    except ModelLoadError as error:
        reason = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return reason, peak


def text_config(text):
    from google.protobuf import text_format

    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_every_row_is_a_field():
    """No row of the table is left over."""
    assert {row_name(path[-1]) for path in PATHS} == BOUNDS.keys()


@pytest.mark.parametrize("text", ["257", "-1", "0000099999999", "nan", "1e3", "٣"])
def test_threads_are_bounded(text):
    """A thread count is a plain number within its bound, however it is spelled."""
    config = model_config_pb2.ModelConfig(max_batch_size=4)
    config.parameters["intra_op_thread_count"].string_value = text
    with pytest.raises(ModelLoadError, match=r"intra_op_thread_count is '.*', not 0 to 256"):
        session_settings(config)
