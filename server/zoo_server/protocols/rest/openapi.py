"""The OpenAPI document of the REST api, served at /v2/openapi.json.

Derived from the table of routes (server/zoo_server/protocols/rest/routes.py); the schemas are here.
"""

from typing import Any

from zoo_server.datatypes import DATA_TYPES
from zoo_server.protocols.rest.routes import OPERATIONS, Operation

_ERROR = {"$ref": "#/components/responses/Error"}


def document(version: str) -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Layer Zoo",
            "version": version,
            "summary": "The Open Inference Protocol v2 with Triton's extensions, and "
            "TensorFlow Serving's REST.",
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


_PARAMETERS = ("model", "version", "label", "region", "repository")


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}

    for operation in OPERATIONS:
        for path in operation.paths():
            named = [name for name in _PARAMETERS if f"{{{name}}}" in path]
            item = paths.setdefault(path, {})
            if named:
                item["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in named]
            item[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "OK"}
    if operation.answer is not None:
        answer["content"] = _json({"$ref": f"#/components/schemas/{operation.answer}"})
    shown: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {"200": answer, "default": _ERROR},
    }
    if operation.body is not None:
        shown["requestBody"] = {
            "required": operation.needs_body,
            "content": _json({"$ref": f"#/components/schemas/{operation.body}"}),
        }
    return shown


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
