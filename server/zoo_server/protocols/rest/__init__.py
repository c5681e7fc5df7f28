"""REST: the Open Inference Protocol v2 with Triton's extensions, and TensorFlow Serving's API.

    http_server.py     the ports: uvicorn on a thread of its own
    connections.py     how many connections there may be, and which one makes room
    http_protocol.py   one connection: uvicorn's HTTP/1.1 with time limits on callers
    routes.py          the table of paths and methods; openapi.py makes its document of it
    application.py     the table served; the token; errors to {"error": …}
    bodies.py          a request's body within its limits, compression both ways
    json_values.py     JSON read with errors that name the member, protobuf written as JSON
    control.py         everything but inference: the data plane, asked in JSON
    infer.py           inference: into the model's queue, and out
    forms.py           what the two forms of asking for it have in common
    elements.py        JSON's nested arrays to arrays of numpy
    infer_request.py   JSON and binary tensors to InferRequest
    infer_response.py  outputs to JSON and binary tensors
    predict.py         TensorFlow Serving's REST: predict, status, metadata
    predict_request.py, predict_response.py  its rows and columns
    errors.py          the table of HTTP statuses, and the one writer of {"error": …}
    plain.py           ASGI without a framework: the token's check, the page of metrics

Paths, statuses and the stems of messages are Triton's (server/src/http_server.cc) and below /v1/
TensorFlow Serving's (model_servers/http_rest_api_handler.cc).
"""
