"""The kinds of requests that are remembered: what was seen before changes nothing about what is recognised."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.protocols.grpc.infer import RequestTemplate, Templates
from zoo_server.protocols.grpc.unparsed_request import Layout, split


def request(data, request_id=""):
    """Return a request for model m with one tensor."""
    message = pb.ModelInferRequest(model_name="m", id=request_id)
    message.inputs.add(name="x", datatype="UINT8", shape=[1, len(data)])
    message.raw_input_contents.append(data)
    return message.SerializeToString()


def knowing(*raws):
    """Return templates of the kinds of some requests."""
    templates = Templates()
    for raw in raws:
        parts = split(raw)
        sizes = tuple(end - begin for begin, end in parts.spans)
        model = SimpleNamespace(settings=SimpleNamespace(name="m"))
        templates.add(
            parts.head,
            RequestTemplate(
                model=model,
                plan=None,
                sizes=sizes,
                layout=Layout(parts.head, sizes),
                places=tuple(range(len(sizes))),
                parameters={},
            ),
        )
    return templates


PLAIN = request(b"abcd")
#: What protobuf takes for the same: an empty id that is written, and a length in four bytes.
SAME = [
    PLAIN,
    request(b"efgh", "an id"),
    PLAIN[:3] + b"\x1a\x00" + PLAIN[3:],
    PLAIN[:-5] + b"\x84\x80\x80\x00abcd",
]


@given(st.lists(st.sampled_from(SAME)), st.sampled_from(SAME), st.binary(max_size=6))
def test_what_came_before_changes_nothing(seen, raw, tail):
    """A request with something behind it, too, is what it is to templates that have seen no other."""
    warm, cold = knowing(PLAIN), knowing(PLAIN)
    for earlier in seen:
        assert warm.find(earlier) is not None
    known, unknown = warm.find(raw + tail), cold.find(raw + tail)

    assert (known is None) == (unknown is None)
    if known is not None:
        assert known[1:] == unknown[1:]


def test_a_request_leads_to_the_template_of_its_own_size():
    """Two kinds of one size, and one of another, in any order."""
    other = request(b"abcd").replace(b"UINT8", b"BYTES")
    raws = [PLAIN, other, request(b"abcde")]
    templates = knowing(*raws)

    for raw in (*raws, *reversed(raws), *raws):
        template, request_id, (place,) = templates.find(raw)
        assert template.layout.fits(raw)
        assert (request_id, raw[place][:4]) == (b"", b"abcd")
    assert templates.without("m").find(PLAIN) is None
