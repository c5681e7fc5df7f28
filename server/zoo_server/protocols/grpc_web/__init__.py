"""gRPC-Web: the services of the gRPC port for pages in browsers, on the HTTP port.

    application.py  from an HTTP request to a handler, and back
    call.py         one call, as handlers and the path of inference see it
    frames.py       messages and trailers in a body, as bytes or as base64

The protocol is grpc/grpc:doc/PROTOCOL-WEB.md. A browser sends one body and then reads: unary calls and
streams of answers.
"""
