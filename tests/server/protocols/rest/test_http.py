"""HTTP itself over a real port: what no path answers, and callers who hang up."""

import http.client
import json
import logging
import socket
import time
from contextlib import contextmanager, suppress

import pytest

HEAD = b"POST /v2/models/identity_fp32/infer HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def caller(address):
    """Open a connection that sends what it likes."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield connection


def answer_on(connection):
    """Return status, content type and error of the answer, after which the connection closes."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    body = answer.read()
    assert int(answer.headers["content-length"]) == len(body)
    with suppress(ConnectionResetError):  # where the server leaves something unread
        assert connection.recv(1) == b""
    shown = json.loads(body)
    assert set(shown) == {"error"}
    return answer.status, answer.headers["content-type"], shown["error"]


MALFORMED = {
    "no HTTP": b"nonsense\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "no host": b"GET /v2 HTTP/1.1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "a length that is none": HEAD + b"Content-Length: -5\r\n\r\n",
    "a header without end": HEAD + b"A: " + b"x" * 66_000,
    "another encoding": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
}


@pytest.mark.parametrize("port", ["http_address", "metrics_address"])
@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_http_is_refused_as_json(rest, case, port):
    """On either port 400, {"error": …}, and the connection closes."""
    with caller(getattr(rest.server, port)) as connection:
        connection.sendall(MALFORMED[case])
        status, kind, error = answer_on(connection)

    assert (status, kind) == (400, "application/json")
    assert error == "Invalid HTTP request received."


@pytest.fixture
def log(caplog):
    """Return what is logged as somebody's trouble: warnings and worse, tracebacks."""
    caplog.set_level(logging.DEBUG)

    def trouble():
        return [
            record.getMessage()
            for record in caplog.records
            if record.levelno > logging.WARNING or record.exc_info
        ]

    return trouble


def lost(rest):
    """Wait until the server has seen that every connection but the tests' own is gone."""
    assert rest.get("/v2/health/live").status == 200
    time.sleep(0.05)
    assert rest.get("/v2/health/live").status == 200


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"f" * 21 + b"\r\n", b"5\r\n{}"])
def test_a_body_that_breaks_off_is_the_callers_affair(rest, log, chunk):
    """A bad chunk or a connection that closes in the middle: no traceback, no incident."""
    with caller(rest.server.http_address) as connection:
        connection.sendall(CHUNKED)
        lost(rest)  # by now the body is waited for
        connection.sendall(chunk)
        if b"{" not in chunk:
            assert answer_on(connection)[0] == 400
    lost(rest)

    assert log() == []


def test_bad_bytes_after_the_answer_close_the_connection(rest, log):
    """The answer is whole, and no second one follows."""
    with caller(rest.server.http_address) as connection:
        connection.sendall(CHUNKED.replace(b"identity_fp32", b"nobody"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, b"nobody" in answer.read()) == (404, True)
        connection.sendall(b"zz\r\n")
        assert connection.recv(1) == b""

    assert log() == []


def test_an_answer_comes_in_one_piece(rest):
    """Head and body leave together: clients on geventhttpclient may wait for ever when they come apart."""
    with caller(rest.server.http_address) as connection:
        for _ in range(200):
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
            head, _, body = connection.recv(1 << 16).partition(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
            assert len(body) == int(length.split(b":")[1]) > 0
