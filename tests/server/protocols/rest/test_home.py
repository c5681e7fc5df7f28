"""What / says where no gallery is: a page for browsers, text for others, nothing that a name could break."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest

from tests.server.http_callers import Rest, rest_server
from tests.server.model_repositories import Repository
from tests.server.onnx_graphs import Graphs


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory, graphs: Graphs) -> Iterator[Rest]:
    """A server of one model that is ready and one that cannot be loaded."""
    repository = Repository(tmp_path_factory.mktemp("home"))
    repository.add("good", graphs.identity())
    repository.add("a<b>&c", b"no graph")
    with rest_server(repository.path) as server:
        yield server


def test_a_browser_gets_a_page_with_links_to_the_models(rest: Rest) -> None:
    answer = rest.get("/", accept="text/html,application/xhtml+xml")
    page = answer.body.decode()

    assert answer.headers["content-type"].startswith("text/html")
    assert "Layer Zoo" in page
    (link,) = re.findall(r'href="(/v2/models/[^"]+)"', page)
    assert rest.get(link).json["name"] == "good"
    assert "a&lt;b&gt;&amp;c" in page
    assert "a<b>" not in page
    for path in re.findall(r"href='([^']+)'", page):
        assert rest.get(path).status == 200


def test_its_policy_allows_its_own_style_and_nothing_else(rest: Rest) -> None:
    answer = rest.get("/", accept="text/html")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.body.decode())
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]

    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy + answer.body.decode()


def test_others_get_text(rest: Rest) -> None:
    answer = rest.get("/")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "  good 1 READY" in answer.body.decode().splitlines()
    assert "zoo site" in answer.body.decode()
