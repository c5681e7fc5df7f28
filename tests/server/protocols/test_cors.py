"""Which pages in a browser may ask the server: CORS."""

import pytest

from tests.server.http_callers import HttpCaller
from tests.server.protocols.secure_servers import TOKEN
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError


def test_pages_of_an_origin_may_ask(serve_secure, tmp_path):
    """CORS: the browser's question needs no token, the request does; other origins hear no yes."""
    origin, other = "https://pages.example:8443", "https://other.example"
    with serve_secure(token_file=tmp_path / "token", http_cors_origin=(origin,)) as server:
        caller = HttpCaller(server.http_address)
        question = {
            "Access_Control_Request_Method": "POST",
            "Access_Control_Request_Headers": "authorization,inference-header-content-length",
        }
        path = "/v2/models/identity/infer"
        preflight = caller.ask("OPTIONS", path, Origin=origin, **question)
        refused = caller.ask("OPTIONS", path, Origin=other, **question)
        denied = caller.get("/v2", Origin=origin)
        told = caller.get("/v2", Origin=origin, Authorization=f"Bearer {TOKEN}")
        stranger = caller.get("/v2", Origin=other, Authorization=f"Bearer {TOKEN}")
        caller.close()

    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in refused.headers
    assert (denied.status, denied.headers["access-control-allow-origin"]) == (401, origin)
    assert (told.status, told.headers["access-control-allow-origin"]) == (200, origin)
    assert "inference-header-content-length" in told.headers["access-control-expose-headers"]
    assert (stranger.status, "access-control-allow-origin" in stranger.headers) == (200, False)


def test_without_the_option_no_origin_may_ask(rest):
    """No header says so, and the browser's question is a method like any other."""
    origin = "https://pages.example"
    assert rest.ask("OPTIONS", "/v2", Origin=origin).status == 405
    assert "access-control-allow-origin" not in rest.get("/v2", Origin=origin).headers


@pytest.mark.parametrize("origin", ["example.org", "https://a.b/", "https://a b", "", "https://"])
def test_what_is_no_origin(repository, origin):
    """It is said at the start, in one line."""
    with pytest.raises(ConfigurationError, match=r"--http-cors-origin '.*' is no origin"):
        ServerConfig(repository=repository.path, http_cors_origin=(origin,))
