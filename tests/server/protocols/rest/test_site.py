"""The gallery's files over HTTP: only what is listed, only by reading, and no other path changes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.http_callers import Rest, rest_server

FILES = {
    "index.html": "<!doctype html>",
    "models/one/index.html": "<p>one",
    "assets/app.js": "export {};",
    "v2/health/live": "not this",
    "assets/style.css": "p { color: green; }\n" * 400,
    "data/one/model.onnx": "\0" * 8000,
}


def _build(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listed = {name: {"bytes": len(text), "sha256": f"{name}-1"} for name, text in files.items()}
    (folder / "site.json").write_text(json.dumps({"format": 1, "files": listed}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small site, with a file that is not listed, and a link that leads out."""
    folder = tmp_path_factory.mktemp("shown") / "site"
    folder.mkdir()
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
    _build(folder, FILES)
    (folder / "unlisted.txt").write_text("not listed")
    listing = json.loads((folder / "site.json").read_text())
    for name in ("out.txt", "../secret.txt", "/etc/passwd", "gone.txt"):
        listing["files"][name] = {"bytes": 6, "sha256": "x"}
    (folder / "site.json").write_text(json.dumps(listing))
    return folder


@pytest.fixture(scope="module")
def gallery(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A server that shows it."""
    with rest_server(tmp_path_factory.mktemp("models"), site=folder) as rest:
        yield rest


def test_files_come_with_their_type_and_a_strict_policy(gallery: Rest) -> None:
    page, script = gallery.get("/"), gallery.get("/assets/app.js")
    assert (page.status, page.body) == (200, b"<!doctype html>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-layer-zoo"] == "serve"


def test_a_folder_is_shown_by_its_index(gallery: Rest) -> None:
    assert gallery.get("/models/one/").body == b"<p>one"
    redirect = gallery.get("/models/one")
    assert (redirect.status, redirect.headers["location"]) == (307, "/models/one/")


def test_what_was_seen_is_not_sent_again(gallery: Rest) -> None:
    tag = gallery.get("/index.html").headers["etag"]
    again = gallery.get("/index.html", if_none_match=tag)
    assert (again.status, again.body) == (304, b"")


def test_text_is_compressed_for_who_takes_that(gallery: Rest) -> None:
    plain = gallery.get("/assets/style.css")
    packed = gallery.get("/assets/style.css", accept_encoding="br, gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert gzip.decompress(packed.body) == plain.body == FILES["assets/style.css"].encode()
    assert len(packed.body) < len(plain.body) / 4
    again = gallery.get(
        "/assets/style.css", accept_encoding="gzip", if_none_match=plain.headers["etag"]
    )
    assert (again.status, again.body) == (304, b"")
    model = gallery.get("/data/one/model.onnx", accept_encoding="gzip")
    assert "content-encoding" not in model.headers


def test_head_has_the_headers_alone(gallery: Rest) -> None:
    answer = gallery.ask("HEAD", "/")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(FILES["index.html"]))


@pytest.mark.parametrize(
    "path",
    [
        "/unlisted.txt", "/site.json", "/out.txt", "/gone.txt", "/../secret.txt", "/%2e%2e/secret.txt",
        "//etc/passwd", "/models/", "/models/one/../../site.json", "/index.html/", "/nothing",
    ],
)  # fmt: skip
def test_nothing_else_is_served(gallery: Rest, path: str) -> None:
    """Neither what is not listed, nor what a list or a link would lead to outside of the folder."""
    answer = gallery.get(path)
    assert (answer.status, answer.error) == (404, "Not Found")


def test_the_protocol_goes_before_the_site(gallery: Rest) -> None:
    assert gallery.get("/v2/health/live").body == b""
    assert gallery.get("/v2").json["name"] == "layer-zoo"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(gallery: Rest, method: str) -> None:
    """Paths of the site are to other methods what they were without it."""
    assert gallery.ask(method, "/index.html", b"").status == 404


def test_a_site_may_come_and_change_while_the_server_runs(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with rest_server(tmp_path / "models", site=tmp_path / "site") as rest:
        assert b"zoo site" in rest.get("/").body
        _build(tmp_path / "site", {"index.html": "first"})
        assert rest.get("/").body == b"first"
        (tmp_path / "site").rename(tmp_path / "old")
        _build(tmp_path / "site", {"index.html": "second"})
        assert rest.get("/").body == b"second"
        (tmp_path / "site/site.json").write_text("{}")
        assert b"zoo site" in rest.get("/").body


def test_it_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    with rest_server(tmp_path, site=None) as rest:
        assert rest.get("/index.html").status == 404
