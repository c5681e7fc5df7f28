"""The OpenAPI document of the REST api, served at /v2/openapi.json.

Derived from the table of routes (server/zoo_server/protocols/rest/routes.py); the schemas are here.
"""

from collections.abc import Mapping

from zoo_server.datatypes import DATA_TYPES
from zoo_server.protocols.rest.json_values import Json
from zoo_server.protocols.rest.routes import OPERATIONS, Operation

#: A part of the document, JSON.
Schema = Mapping[str, object]

_ERROR = {"$ref": "#/components/responses/Error"}


def document(version: str) -> Json:
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


def _parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _paths() -> Schema:
    paths: dict[str, Json] = {}

    for operation in OPERATIONS:
        for path in operation.paths():
            named = [name for name in _PARAMETERS if f"{{{name}}}" in path]
            item = paths.setdefault(path, {})
            if named:
                item["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in named]
            item[operation.method.lower()] = _operation(operation)
    return paths


def _operation(operation: Operation) -> Json:
    answer: Json = {"description": "OK"}
    if operation.answer is not None:
        answer["content"] = _json({"$ref": f"#/components/schemas/{operation.answer}"})
    shown: Json = {
        "summary": operation.summary,
        "responses": {"200": answer, "default": _ERROR},
    }
    if operation.body is not None:
        shown["requestBody"] = {
            "required": operation.needs_body,
            "content": _json({"$ref": f"#/components/schemas/{operation.body}"}),
        }
    return shown


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _schemas() -> Schema:
    string: Schema = {"type": "string"}
    size: Schema = {"type": "integer"}
    datatype: Schema = {"type": "string", "enum": [row.wire for row in DATA_TYPES]}
    tensor: dict[str, Schema] = {"name": string, "datatype": datatype, "shape": _array(size)}
    data: Schema = {
        "type": "array",
        "description": "Flat or nested, row-major; not for FP16 and BF16.",
    }
    free: Schema = {"type": "object"}
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
