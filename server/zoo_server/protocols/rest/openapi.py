"""The OpenAPI document of the REST api, at /v2/openapi.json: what a client generator or a person reads.

Written by hand from the routes (server/zoo_server/protocols/rest/application.py); a test holds the two together.
"""

from typing import Any

from zoo_server.datatypes import DATA_TYPES

_ERROR = {"$ref": "#/components/responses/Error"}


def document(version: str) -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Layer Zoo",
            "version": version,
            "summary": "The Open Inference Protocol v2 with Triton's extensions.",
        },
        "paths": _paths(),
        "components": {
            "parameters": {name: _parameter(name) for name in _PARAMETERS},
            "responses": {
                "Error": {
                    "description": "What was wrong, in one line.",
                    "content": _json({"$ref": "#/components/schemas/Error"}),
                }
            },
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_PARAMETERS = ("model", "version", "region", "repository")


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}

    def add(path: str, method: str, summary: str, schema: str | None, body: str | None) -> None:
        named = [name for name in _PARAMETERS if f"{{{name}}}" in path]
        item = paths.setdefault(path, {})
        if named:
            item["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in named]
        item[method] = _operation(summary, schema, body)

    for path, method, summary, schema, body in _OPERATIONS:
        for form in _forms(path):
            add(form, method, summary, schema, body)
    return paths


#: Path, method, what it does, the schemas of its answer and of its body. [/…] may be left out.
_OPERATIONS: tuple[tuple[str, str, str, str | None, str | None], ...] = (
    ("/v2", "get", "The server's name, version and extensions", "Server", None),
    ("/v2/health/live", "get", "200 once the server answers", None, None),
    ("/v2/health/ready", "get", "200 if every model is ready, else 400", None, None),
    ("/v2/models/{model}[/versions/{version}]", "get", "Inputs and outputs", "Model", None),
    ("/v2/models/{model}[/versions/{version}]/ready", "get", "200 if ready, else 400", None, None),
    ("/v2/models/{model}[/versions/{version}]/config", "get", "ModelConfig", "Object", None),
    ("/v2/models/{model}[/versions/{version}]/stats", "get", "Counts, durations", "Object", None),
    ("/v2/models/{model}[/versions/{version}]/infer", "post", "Run", "Answer", "Request"),
    ("/v2/models/stats", "get", "Counts and durations of every model", "Object", None),
    ("/v2/repository[/{repository}]/index", "post", "What is known", "Index", "Object"),
    ("/v2/repository[/{repository}]/models/{model}/load", "post", "Load", None, "Object"),
    ("/v2/repository[/{repository}]/models/{model}/unload", "post", "Unload", None, "Object"),
    ("/v2/systemsharedmemory[/region/{region}]/status", "get", "Regions", "Index", None),
    ("/v2/systemsharedmemory[/region/{region}]/register", "post", "Register", None, "Object"),
    ("/v2/systemsharedmemory[/region/{region}]/unregister", "post", "Unregister", None, "Object"),
    ("/v2/cudasharedmemory[/region/{region}]/status", "get", "Regions", "Index", None),
    ("/v2/cudasharedmemory[/region/{region}]/register", "post", "Register", None, "Object"),
    ("/v2/cudasharedmemory[/region/{region}]/unregister", "post", "Unregister", None, "Object"),
    ("/v2[/models/{model}]/trace/setting", "get", "Trace settings", "Object", None),
    ("/v2[/models/{model}]/trace/setting", "post", "Change trace settings", "Object", "Object"),
    ("/v2/logging", "get", "Log settings", "Object", None),
    ("/v2/logging", "post", "Change log settings", "Object", "Object"),
    ("/v2/openapi.json", "get", "This document", "Object", None),
)


def _forms(path: str) -> list[str]:
    """Return a path without and with its optional part."""
    before, bracket, rest = path.partition("[")
    if not bracket:
        return [path]
    optional, _, after = rest.partition("]")
    return [before + after, before + optional + after]


def _operation(summary: str, schema: str | None, body: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "OK"}
    if schema is not None:
        answer["content"] = _json({"$ref": f"#/components/schemas/{schema}"})
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": answer, "default": _ERROR},
    }
    if body is not None:
        operation["requestBody"] = {
            "required": body != "Object",
            "content": _json({"$ref": f"#/components/schemas/{body}"}),
        }
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _schemas() -> dict[str, Any]:
    string = {"type": "string"}
    size = {"type": "integer"}
    datatype = {"type": "string", "enum": [row.wire for row in DATA_TYPES]}
    tensor = {"name": string, "datatype": datatype, "shape": _array(size)}
    data = {"type": "array", "description": "Flat or nested, row-major; not for FP16 and BF16."}
    free = {"type": "object"}
    names = ("name", "datatype", "shape")
    filled = _object(names, **tensor, data=data, parameters=free)
    return {
        "Error": _object(("error",), error=string),
        "Object": free,
        "Index": _array(free),
        "Server": _object(("name",), name=string, version=string, extensions=_array(string)),
        "Model": _object(
            ("name", "inputs", "outputs"),
            name=string,
            versions=_array(string),
            platform=string,
            inputs=_array(_object(names, **tensor)),
            outputs=_array(_object(names, **tensor)),
        ),
        "Request": _object(
            ("inputs",),
            id=string,
            parameters=free,
            inputs=_array(filled),
            outputs=_array(_object(("name",), name=string, parameters=free)),
        ),
        "Answer": _object(
            ("model_name", "model_version", "outputs"),
            id=string,
            model_name=string,
            model_version=string,
            outputs=_array(filled),
        ),
    }
