"""REST v2: the HTTP form of the Open Inference Protocol with Triton's extensions.

    application.py    paths and methods; the token; errors to {"error": …}
    bodies.py         a request's body within its limits, compression both ways
    json_values.py    JSON read with errors that name the member, protobuf written as JSON
    control.py        everything but inference: the same servicer as gRPC's, its messages as JSON
    infer.py          inference: into the model's queue, and out
    infer_request.py  JSON and binary tensors to InferRequest
    infer_answer.py   outputs to JSON and binary tensors
    openapi.py        the OpenAPI document

Paths, statuses and the stems of messages are Triton's (server/src/http_server.cc).
"""
