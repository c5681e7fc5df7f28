"""The page at / of the HTTP port where no gallery is served: the server, its models, its addresses.

A page for browsers, without a script; lines of text for whoever else asks.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from zoo_server.config import ServerConfig
from zoo_server.dataplane import DataPlane
from zoo_server.models.catalog import CatalogEntry

#: Models that the page lists; the index has them all.
MOST = 200

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;"
    "padding:0 1rem}code{font-family:ui-monospace,monospace;font-size:.92em}table{border-collapse:collapse;"
    "width:100%}td,th{text-align:left;padding:.35rem 1rem .35rem 0;border-bottom:1px solid #8886;"
    "overflow-wrap:break-word;vertical-align:top}"
)

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'sha256-"
        f"{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "vary": "accept",
}


class Home:
    """Answers GET /."""

    def __init__(self, dataplane: DataPlane, config: ServerConfig) -> None:
        self._dataplane = dataplane
        self._config = config

    def respond(self, request: Request) -> Response:
        """Return the page; it may ask other processes which models there are."""
        entries = self._dataplane.repository_index("", ready=False)
        if "text/html" in request.headers.get("accept", ""):
            return Response(self._html(entries), media_type="text/html", headers=_HEADERS)
        return Response(self._text(entries), media_type="text/plain", headers=_HEADERS)

    @property
    def _title(self) -> str:
        return f"Layer Zoo {self._dataplane.server_metadata.version}"

    def _addresses(self) -> Iterator[tuple[str, str, str]]:
        """Yield what is asked, where, and a path of this port that answers it."""
        config = self._config
        ports = {"gRPC": config.grpc_port, "metrics": config.metrics_port}
        free = "a free port, which the log names"
        at = {name: f"port {port}" if port else free for name, port in ports.items()}
        yield "Open Inference Protocol, REST", "this port, below /v2", "/v2"
        yield "TensorFlow Serving and KServe V1, REST", "this port, below /v1", "/v1/models"
        yield "both over gRPC, health, reflection", at["gRPC"], ""
        if config.metrics_port is not None:
            yield "Prometheus metrics", f"{at['metrics']}, /metrics", ""
        yield "every path of this port", "as OpenAPI", "/v2/openapi.json"

    def _html(self, entries: Sequence[CatalogEntry]) -> str:
        models = "".join(
            f"<tr><td>{_link(entry)}</td><td>{_version(entry)}</td><td>{escape(_state(entry))}</td></tr>"
            for entry in entries[:MOST]
        )
        addresses = "".join(
            f"<tr><td>{what}</td><td>{f'<a href={path!r}>{where}</a>' if path else where}</td></tr>"
            for what, where, path in self._addresses()
        )
        head = "<tr><th scope=col>model</th><th scope=col>version</th><th scope=col>state</th></tr>"
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{self._title}</title><style>{_STYLE}</style><main><h1>{self._title}</h1>"
            "<p>This server answers requests to machine learning models in ONNX files.</p>"
            f"<h2>Models</h2>{f'<table>{head}{models}</table>' if models else '<p>There is none.</p>'}"
            f"<p>{_rest(entries)}</p><h2>Where to ask</h2><table>{addresses}</table>"
            "<h2>The gallery</h2><p><code>zoo site</code>, or <code>make site</code> in a checkout, builds a site "
            "in the folder <code>site</code>, in which every model runs in the browser. This server shows "
            "it here (<code>--site</code>).</p></main></html>\n"
        )

    def _text(self, entries: Sequence[CatalogEntry]) -> str:
        lines = [self._title, "", "Models:"]
        lines += [f"  {e.name} {_version(e)} {_state(e)}".rstrip() for e in entries[:MOST]]
        lines += [*filter(None, [_rest(entries)]), "", "Where to ask:"]
        lines += [f"  {what}: {where} {path}".rstrip() for what, where, path in self._addresses()]
        return "\n".join(
            [*lines, "", "`zoo site` builds the gallery, which is then shown here.", ""]
        )


def _link(entry: CatalogEntry) -> str:
    name = escape(entry.name)
    if entry.version is None or entry.model is None:
        return name
    return f'<a href="/v2/models/{quote(entry.name, safe="")}/versions/{entry.version}">{name}</a>'


def _version(entry: CatalogEntry) -> str:
    return "" if entry.version is None else str(entry.version)


def _state(entry: CatalogEntry) -> str:
    return ": ".join(filter(None, (str(entry.state), entry.reason)))


def _rest(entries: Sequence[CatalogEntry]) -> str:
    more = len(entries) - MOST
    return f"{more} more are in the index: POST /v2/repository/index" if more > 0 else ""
