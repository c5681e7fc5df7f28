"""REST v2's limits over a real port: bodies too large, bombs, callers and servers that leave."""

import gzip
import http.client
import json
import select
import threading
import zlib

import pytest

from tests.waiting import until
from zoo_server.errors import InvalidRequest, QueueFull
from zoo_server.protocols.rest.bodies import Bodies, BodyLimits, decompress

#: An empty object, packed without the time of day: tests must be collected alike by every process.
EMPTY_GZIP = gzip.compress(b"{}", mtime=0)


def one(datatype="FP32", shape=(1, 4), name="x", **more):
    """Return a request for an identity model."""
    return {"inputs": [{"name": name, "datatype": datatype, "shape": list(shape), **more}]}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, graphs, serve_rest):
    """Serve with small limits: 20 kB a body, 25 kB all, 4 kB of JSON or of what is decompressed."""
    from types import SimpleNamespace  # keeps the repository's class out of this module

    folder = tmp_path_factory.mktemp("narrow") / "models" / "identity" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(graphs.identity(shape=("batch", "n")))
    options = SimpleNamespace(
        max_message_bytes=20_000, max_http_bytes_in_flight=25_000, http_max_input_size=4_000
    )
    with serve_rest(folder.parents[1], **vars(options)) as served:
        yield served


def test_a_body_too_large_is_not_read(narrow):
    """By its announced length at once, and without one as soon as it is too long."""
    path = "/v2/models/identity/infer"
    connection = http.client.HTTPConnection(narrow.server.http_address, timeout=30)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", "20001")
    connection.endheaders()
    announced = connection.getresponse()
    text = json.loads(announced.read())["error"]
    connection.close()

    assert announced.status == 400
    assert text.startswith("request body size of 20001 bytes exceeds the maximum allowed value")

    connection = http.client.HTTPConnection(narrow.server.http_address, timeout=30)
    connection.request("POST", path, iter([b"x" * 1000] * 21), encode_chunked=True)
    chunked = connection.getresponse()
    assert chunked.status == 400
    assert json.loads(chunked.read())["error"].startswith("request body size of more than 20000")
    connection.close()


def test_json_and_decompression_have_a_limit_of_their_own(narrow):
    """Bytes may be many, JSON may not; and a small body may not become a large one."""
    many = one(shape=(1, 4000), parameters={"binary_data_size": 16_000})
    assert narrow.infer("identity", many, bytes(16_000)).status == 200

    long = narrow.infer("identity", one(shape=(1, 4000), data=[0] * 4000))
    assert long.status == 400
    assert "exceeds the maximum allowed input size of 4000 bytes" in long.error

    bomb = gzip.compress(bytes(10_000_000))
    exploded = narrow.ask("POST", "/v2/models/identity/infer", bomb, Content_Encoding="gzip")
    assert exploded.status == 400
    assert exploded.error.startswith("Decompressed data size exceeds the maximum allowed value of")

    body = narrow.ask("POST", "/v2/repository/index", b" " * 5000)
    assert body.status == 400
    assert body.error.startswith("request body size of 5000 bytes exceeds")


@pytest.mark.parametrize(
    ("body", "encoding", "status", "stem"),
    [
        (b"no gzip", "gzip", 400, "the compressed body cannot be decompressed"),
        (EMPTY_GZIP[:-4], "gzip", 400, "the compressed body cannot be decompressed"),
        (EMPTY_GZIP + b"x", "gzip", 400, "the compressed body cannot be decompressed"),
        (b"", "deflate", 400, "the compressed body cannot be decompressed"),
        (b"{}", "br", 501, "Unsupported compression type"),
        (b"{}", "gzip, gzip", 501, "Unsupported compression type"),
    ],
)
def test_a_broken_or_unknown_compression(rest, body, encoding, status, stem):
    """It is the caller's mistake, whatever zlib says."""
    answer = rest.ask("POST", "/v2/models/identity_fp32/infer", body, Content_Encoding=encoding)
    assert answer.status == status
    assert answer.error.startswith(stem)


def test_decompression_stops_at_the_limit():
    """A body that decompresses to exactly the limit passes, and one byte more does not."""
    assert decompress(zlib.compress(bytes(3_000_000)), 3_000_000) == bytes(3_000_000)
    with pytest.raises(InvalidRequest, match="exceeds the maximum allowed value of 2999999"):
        decompress(zlib.compress(bytes(3_000_000)), 2_999_999)


def test_all_bodies_together_are_bounded():
    """Several of the largest fit, if the sum says so; what is held is given back."""
    bodies = Bodies(BodyLimits(body=100, in_flight=250, input=100))
    with bodies.holding() as first, bodies.holding() as second:
        for held in (first, second):
            bodies.take(100)
            held.size += 100
        with pytest.raises(QueueFull, match="HTTP bodies under way would exceed 250 bytes"):
            bodies.take(60)
    with bodies.holding():
        bodies.take(250)


def test_a_body_larger_than_all_may_be_is_refused_for_good(repository, graphs, serve_rest):
    """It would never fit, so that asking again is no use: 400 and not 503."""
    repository.add("identity", graphs.identity())
    with serve_rest(repository.path, max_http_bytes_in_flight=2048) as rest:
        answer = rest.ask("POST", "/v2/models/identity/infer", bytes(3000))

    assert answer.status == 400
    assert answer.error.startswith("request body size of 3000 bytes exceeds the maximum allowed")


def test_more_bodies_than_fit_together_are_503(narrow):
    """Who comes while another's body is under way is asked to come again, and then is answered."""
    request = one(shape=(1, 4000), parameters={"binary_data_size": 16_000})
    head = json.dumps(request).encode()
    body = head + bytes(16_000)
    answer = None

    def begun():
        connection = http.client.HTTPConnection(narrow.server.http_address, timeout=30)
        connection.putrequest("POST", "/v2/models/identity/infer")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Inference-Header-Content-Length", str(len(head)))
        connection.endheaders(body[:10_000])
        return connection

    first = begun()

    def refused():
        nonlocal answer, first
        if select.select([first.sock], [], [], 0.05)[0]:  # the other was read before: it lost
            first.close()
            first = begun()
        answer = narrow.infer("identity", request, bytes(16_000))
        return answer.status != 200

    until(refused)
    assert answer.status == 503
    assert answer.error.startswith(
        "HTTP bodies under way would exceed 25000 bytes: try again later, or raise "
        "--max-http-bytes-in-flight"
    )
    first.send(body[10_000:])
    assert first.getresponse().status == 200
    first.close()
    assert narrow.infer("identity", request, bytes(16_000)).status == 200


# -- callers who leave, servers that leave -----------------------------------------------------------


def count_to(number):
    return json.dumps(one("INT64", (1,), name="n", data=[number])).encode()


def learn(rest):
    """Let the server learn that the slow model is slow, so that a worker runs it."""
    assert rest.ask("POST", "/v2/models/slow/infer", count_to(100_000)).status == 200


def send(rest, number):
    """Ask the slow model on a connection of its own; return it with the answer to come."""
    connection = http.client.HTTPConnection(rest.server.http_address, timeout=60)
    connection.request("POST", "/v2/models/slow/infer", count_to(number))
    return connection


def test_a_caller_who_hangs_up_is_not_run(rest):
    """A request that waits when its connection closes never reaches the graph."""
    model = rest.server.catalog.find("slow", "")
    learn(rest)
    before = model.statistics.snapshot()
    first = send(rest, 3_000_000)
    until(lambda: model.scheduler.running)
    second = send(rest, 1)
    until(lambda: model.waiting)
    second.close()
    assert first.getresponse().status == 200
    first.close()
    until(lambda: model.statistics.snapshot().fail.count > before.fail.count)

    after = model.statistics.snapshot()
    assert after.execution_count == before.execution_count + 1
    assert after.failures["CANCELED"] == before.failures["CANCELED"] + 1


def test_a_leaving_server_answers_503_and_finishes_what_is_under_way(
    repository, graphs, serve_rest
):
    """New requests hear "Server exiting", readiness too; the one that runs gets its answer."""
    repository.add("slow", graphs.slow())
    with serve_rest(repository.path) as rest:
        model = rest.server.catalog.find("slow", "")
        learn(rest)
        under_way = send(rest, 3_000_000)
        until(lambda: model.scheduler.running)
        rest.get("/v2/health/live")  # a connection that is open already
        stopping = threading.Thread(target=rest.server.stop, args=(30,))
        stopping.start()
        until(lambda: rest.get("/v2/health/ready").status == 503)
        for answer in (rest.get("/v2/health/ready"), rest.ask("POST", "/v2/models/slow/infer")):
            assert (answer.status, answer.error) == (503, "Server exiting")
        assert under_way.getresponse().status == 200
        stopping.join()
        under_way.close()
        with pytest.raises(OSError):
            http.client.HTTPConnection(rest.server.http_address, timeout=5).request("GET", "/v2")


def test_many_callers_at_once_get_their_own_answers(rest):
    """Each gets what it sent, small and large, through the same queue."""
    right = []

    def call(number):
        connection = http.client.HTTPConnection(rest.server.http_address, timeout=30)
        for size in (3, 3000, 300_000):  # on the loop; on a worker; one at a time
            values = [number + 0.5] * size
            connection.request(
                "POST", "/v2/models/variable/infer", json.dumps(one(shape=(1, size), data=values))
            )
            answer = json.loads(connection.getresponse().read())
            right.append(answer["outputs"][0]["data"] == values)
        connection.close()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 24
