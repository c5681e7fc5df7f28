"""The gallery: the static files of a folder that `zoo site` built, at / of the HTTP port.

Only what the folder's site.json lists is served, and only where no route of the protocol matches. The
folder is looked at again when site.json changes, so that a site may be built while the server runs.
"""

import json
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

_LOG = logging.getLogger(__name__)

#: What lists a site's files: {"format": 1, "files": {PATH: {"bytes", "sha256"}}}.
SITE_FILE = "site.json"
_FORMAT = 1

_INDEX = "index.html"

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}

#: What is sent compressed to who takes that: text, a quarter of its size then.
_COMPRESSED = frozenset(_TYPES) - {".png"}

#: The pages run scripts of their own and WebAssembly, and ask this host alone.
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Both isolate the pages: none of another origin shares their process or reads them.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cache-control": "no-cache",  # asked for again each time, and answered 304
    # Tells a page that the server behind it answers inference too (web/assets/server.js).
    "x-layer-zoo": "serve",
}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    tag: str


class SiteRoute(BaseRoute):
    """Answers GET and HEAD for the files of a site; it matches no other path."""

    def __init__(self, folder: Path) -> None:
        """`folder` need not be there yet."""
        self._folder = folder
        self._state: tuple[int, int] | None = None
        self._files: Mapping[str, _File] = {}
        if self._current():
            _LOG.info("the gallery in %s is shown at / of the HTTP port", folder)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what is in the site, a folder by its index, with the slash or without."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return Match.NONE, {}
        files, path = self._current(), scope["path"].removeprefix("/")
        if path.endswith("/") or not path:
            path += _INDEX
        if path in files:
            return Match.FULL, {"path_params": {"file": path}}
        if f"{path}/{_INDEX}" in files:
            return Match.FULL, {"path_params": {"folder": path}}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file that matched."""
        request = Request(scope)
        answer: ASGIApp = self._response(request)
        if PurePosixPath(request.path_params.get("file", "")).suffix in _COMPRESSED:
            answer = GZipMiddleware(answer, compresslevel=6)
        await answer(scope, receive, send)

    def _response(self, request: Request) -> Response:
        if "folder" in request.path_params:
            return RedirectResponse(f"/{request.path_params['folder']}/", headers=_HEADERS)
        name = request.path_params["file"]
        file = self._files[name]
        headers = {**_HEADERS, "etag": file.tag}
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        return FileResponse(file.path, headers=headers, media_type=kind)

    def _current(self) -> Mapping[str, _File]:
        """Return the site's files, read again if its list is another one than last time."""
        listing = self._folder / SITE_FILE
        try:
            status = listing.stat()
        except OSError:
            self._state, self._files = None, {}
            return self._files
        state = (status.st_ino, status.st_mtime_ns)
        if state != self._state:
            self._state, self._files = state, _read(listing)
        return self._files


def _read(listing: Path) -> Mapping[str, _File]:
    """Return the files that a site's list names; none, and a line in the log, if it is no list."""
    try:
        values = json.loads(listing.read_bytes())
        if values["format"] != _FORMAT:
            raise ValueError(f"format {values['format']}, not {_FORMAT}")
        folder = listing.parent.resolve()
        return {
            # Weak: compressed or not, it is the same page.
            name: _File(folder / name, f'W/"{facts["sha256"]}"')
            for name, facts in values["files"].items()
            if _is_inside(folder, name)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        command = shlex.join(["zoo", "site", "--output", str(listing.parent)])
        _LOG.warning("%s lists no site (%s): build it again with `%s`", listing, error, command)
        return {}


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a name is that of a file below the folder, whatever links lie there."""
    path = (folder / name).resolve()
    return path.is_relative_to(folder) and path.is_file()
