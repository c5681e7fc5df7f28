"""The walk over a request's bytes: it reads what protobuf reads, or leaves the request to it."""

from hypothesis import given
from hypothesis import strategies as st

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.protocols.grpc.unparsed_request import Layout, split
from zoo_server.varint import delimited

texts = st.text(max_size=200)
raws = st.lists(st.binary(max_size=300), max_size=4)


@st.composite
def requests(draw):
    """Any request: names, ids, parameters, typed contents, raw contents."""
    request = pb.ModelInferRequest(
        model_name=draw(texts), model_version=draw(texts), id=draw(texts)
    )
    for _ in range(draw(st.integers(0, 3))):
        tensor = request.inputs.add(
            name=draw(texts),
            datatype=draw(texts),
            shape=draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4)),
        )
        if draw(st.booleans()):
            tensor.contents.fp32_contents.extend([1.0] * draw(st.integers(0, 50)))
    for _ in range(draw(st.integers(0, 2))):
        request.outputs.add(name=draw(texts))
    if draw(st.booleans()):
        request.parameters[draw(texts)].int64_param = 1
    request.raw_input_contents.extend(draw(raws))
    return request


def joined(raw, parts):
    """Put a request together again from the parts of the walk."""
    request = pb.ModelInferRequest.FromString(parts.head)
    if parts.id:
        request.id = parts.id.decode()
    request.raw_input_contents.extend(raw[begin:end] for begin, end in parts.spans)
    return request


@given(requests())
def test_reads_what_protobuf_reads(request):
    """Every request as clients write it is walked, and says the same."""
    raw = request.SerializeToString()
    parts = split(raw)

    assert parts is not None
    assert joined(raw, parts) == request


@given(requests(), st.data())
def test_never_disagrees_with_protobuf_on_strange_bytes(request, data):
    """Cut, spliced or mutated: the walk gives up, or what it finds is what protobuf finds."""
    raw = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if not raw:
            break
        at = data.draw(st.integers(0, len(raw) - 1))
        kind = data.draw(st.sampled_from(["cut", "set", "insert", "double"]))
        if kind == "cut":
            del raw[at:]
        elif kind == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            raw[at:at] = data.draw(st.binary(max_size=6))
        else:
            raw += raw[at:]
    strange = bytes(raw)
    parts = split(strange)
    if parts is None:
        return
    try:
        mine = joined(strange, parts)
    except Exception:
        mine = None  # the head is left to protobuf, which refuses it
    try:
        theirs = pb.ModelInferRequest.FromString(strange)
    except Exception:
        theirs = None

    assert (mine is None) == (theirs is None)
    if mine is not None:
        mine.DiscardUnknownFields()
        theirs.DiscardUnknownFields()
        assert mine == theirs


@given(st.integers(1, 15), st.binary(max_size=40_000))
def test_delimited_is_protobufs_prefix(number, data):
    """Tag and length as protobuf writes them."""
    response = pb.ModelInferResponse()
    response.raw_output_contents.append(data)

    assert delimited(6, len(data)) + data == response.SerializeToString()
    assert delimited(number, len(data))[0] == number << 3 | 2


@given(requests(), st.data())
def test_a_layout_finds_what_the_walk_finds(request, data):
    """A request without an id fits its own layout; another of that size that fits is walked alike."""
    request.id = ""
    raw = request.SerializeToString()
    parts = split(raw)
    layout = Layout(parts.head, [end - begin for begin, end in parts.spans])

    assert layout.nbytes == len(raw)
    assert layout.fits(raw)
    assert list(layout.spans) == parts.spans
    strange = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3)) if raw else 0):
        strange[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if layout.fits(bytes(strange)):
        assert split(bytes(strange)) == parts
