"""REST: the Open Inference Protocol v2 with Triton's extensions, and TensorFlow Serving's API.

    http_server.py     the ports: uvicorn on a thread of its own
    connections.py     how many connections there may be, and which one makes room
    http_protocol.py   one connection: uvicorn's HTTP/1.1 with time limits on callers
    routes.py          the table of paths and methods; openapi.py makes its document of it
    application.py     the table served; the token; errors to {"error": …}
    bodies.py          a request's body within its limits, compression both ways
    json_values.py     JSON read with errors that name the member, protobuf written as JSON
    open_inference.py  everything but inference: the data plane, asked in JSON
    infer.py           inference: into the model's queue, and out
    request_formats.py the two JSON formats of requests and answers, behind one interface
    elements.py        JSON's nested arrays to arrays of numpy; sliced_json.py decodes long texts
    infer_request.py   JSON and binary tensors to InferRequest
    infer_response.py  outputs to JSON and binary tensors
    predict.py         TensorFlow Serving's REST: predict, status, metadata
    predict_request.py, predict_response.py, predict_tensor.py  its rows and columns
    errors.py          the table of HTTP statuses, and the one writer of {"error": …}
    asgi.py            ASGI without a framework: the token's check, the page of metrics
    home.py, site.py   what / answers: a page about the server, or the gallery

Paths, statuses and the stems of messages are Triton's (server/src/http_server.cc) and below /v1/
TensorFlow Serving's (model_servers/http_rest_api_handler.cc).
"""
