"""What REST makes the server hold, measured on a server that is a process of its own."""

import gzip
import http.client
import json
import zlib
from contextlib import ExitStack

import pytest

MIB = 1 << 20

INFER = "/v2/models/variable/infer"


def one(size, **more):
    """Return the JSON of a request of one row, with data or without."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, size], **more}
    return json.dumps({"inputs": [tensor]}).encode()


FOUR = one(4, data=[1, 2, 3, 4])


def rise(process, body, status, **headers):
    """Return by how many bytes the server's memory rose while it answered one request."""
    answers = []
    risen = process.rise_kb(lambda: answers.append(process.ask("POST", INFER, body, **headers)))
    assert answers[0].status in status, answers[0]
    return risen * 1024


def binary(size, *, as_json):
    """Return a body of so many elements in bytes, and the header that says where they begin."""
    form = {"parameters": {"binary_data_output": not as_json}}
    header = json.loads(one(size, parameters={"binary_data_size": size * 4})) | form
    head = json.dumps(header).encode()
    return head + bytes(size * 4), {"Inference_Header_Content_Length": str(len(head))}


# -- at once ---------------------------------------------------------------------------------------


# Before the large ones: what those free could hide what these take.
def test_tiny_chunks_cost_what_their_bytes_do(rest_process):
    """A body in 50,000 chunks of one byte is answered, JSON and bytes."""
    long = FOUR + b" " * (50_000 - len(FOUR))
    raw, sent = binary(12_000, as_json=False)
    for body, headers in ((long, {}), (raw, sent)):
        pieces = [body[at : at + 1] for at in range(len(body))]

        assert rise(rest_process, pieces, (200,), **headers) < 16 * MIB


@pytest.mark.parametrize("piece", [b"[", b'{"a":', b"[],", b"{},", b"1e5,", b'"\\u0000",', b"0,"])
def test_large_repetitive_bodies_take_bounded_memory(rest_process, piece):
    """A megabyte of what JSON makes most of: refused, and no sixty-four times as much held."""
    body = b'{"inputs":[' + piece * (MIB // len(piece)) + b"0]}"

    assert rise(rest_process, body, (400, 500)) < 64 * MIB


def test_the_rise_is_seen(rest_process):
    """The check above can fail: a large body that is answered shows in it."""
    body, sent = binary(12 * MIB, as_json=False)

    assert rise(rest_process, body, (200,), **sent) > 64 * MIB


def test_a_long_answer_in_json_is_written_in_steps(rest_process):
    """It takes its text, not its elements as objects: those would be 128 MiB alone."""
    body, sent = binary(4 * MIB, as_json=True)

    assert rise(rest_process, body, (200,), **sent) < 128 * MIB


def bomb(window):
    """Return 1 GiB of zeros in a megabyte; without its end, which nobody should come to."""
    engine = zlib.compressobj(wbits=window)
    first = engine.compress(bytes(MIB)) + engine.flush(zlib.Z_FULL_FLUSH)
    return first + 1023 * (engine.compress(bytes(MIB)) + engine.flush(zlib.Z_FULL_FLUSH))


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize(("encoding", "window"), [("gzip", 31), ("deflate", 15)])
def test_a_bomb_goes_no_further_than_the_limit(rest_process, encoding, window, in_chunks):
    """64 MiB are unpacked, unless --http-max-input-size says otherwise, and then it is refused."""
    body = bomb(window)
    pieces = [body[at : at + 999] for at in range(0, len(body), 999)] if in_chunks else body

    assert rise(rest_process, pieces, (400,), Content_Encoding=encoding) < 96 * MIB
    assert len(zlib.decompressobj(window).decompress(body, 128 * MIB)) == 128 * MIB


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
def test_chunks_are_joined(rest_process, encoding):
    """JSON, and JSON with bytes, compressed or not: the answer is that to the whole body."""
    pack = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    raw, sent = binary(300, as_json=False)
    for body, headers in ((FOUR, {}), (raw, sent)):
        packed = pack(body)
        pieces = [packed[at : at + 7] for at in range(0, len(packed), 7)]
        answer = rest_process.ask("POST", INFER, pieces, Content_Encoding=encoding, **headers)
        whole = rest_process.ask("POST", INFER, body, **headers)

        assert (answer.status, answer.body) == (200, whole.body)


# -- for good --------------------------------------------------------------------------------------

#: A request of each kind that is answered or refused: path, body, headers.
ROUND = [
    (INFER, FOUR, {}),
    (INFER, gzip.compress(FOUR, mtime=0), {"Content_Encoding": "gzip", "Accept_Encoding": "gzip"}),
    (INFER, [FOUR[:30], FOUR[30:]], {}),
    (INFER, *binary(300, as_json=False)),
    (INFER, *binary(3000, as_json=True)),
    (INFER, FOUR[:-9], {}),
    (INFER, one(5, data=[1, 2, 3, 4]), {}),
    (INFER, gzip.compress(FOUR, mtime=0)[:-9], {"Content_Encoding": "gzip"}),
    ("/v2/models/nobody/infer", FOUR, {}),
    ("/v2/models/fails/infer", FOUR, {}),
    ("/v2/repository/index", b"{}", {}),
    ("/v2/repository/models/nobody/load", b"{}", {}),
    ("/v2/systemsharedmemory/region/r/register", b'{"key":"/nobody","byte_size":4}', {}),
    ("/v2/logging", b'{"log_info":true}', {}),
    ("/v2/nowhere", b"x" * 3000, {}),
]

#: What the requests may leave behind: 2 kB each would be more.
MOST_KB = 6 * 1024


@pytest.fixture(scope="module")
def fresh(start_rest_process):
    """A server that has no freed memory in which it could hide what it keeps."""
    process = start_rest_process()
    rounds(process, 60)
    return process


def rounds(process, count):
    for _ in range(count):
        for path, body, headers in ROUND:
            process.ask("POST", path, body, **headers)


def test_requests_leave_nothing_behind(fresh):
    """After 3000 more, good and bad, the server holds about what it held before."""
    assert fresh.growth_kb(lambda: rounds(fresh, 200)) < MOST_KB


def test_what_is_left_behind_is_seen(fresh):
    """The check above can fail: 2 kB for each of as many requests, held on purpose, show in it."""
    with ExitStack() as stack:

        def hold():
            for _ in range(6):
                connection = http.client.HTTPConnection(fresh.address, timeout=10)
                stack.callback(connection.close)
                connection.putrequest("POST", INFER)
                connection.putheader("Content-Length", str(2 * MIB))
                connection.endheaders(bytes(MIB))
            rounds(fresh, 5)  # by the end of which they have been read

        assert fresh.growth_kb(hold) >= MOST_KB
