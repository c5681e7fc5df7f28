"""A small client of the gRPC endpoint: numpy in, numpy out; for threads and for asyncio.

    from zoo.client import Client

    with Client("127.0.0.1:8001") as client:
        probabilities = client.infer("dense_iris", [[5.1, 3.5, 1.4, 0.2]])

It speaks the Open Inference Protocol with our own stubs, so any server of that protocol will do, and
it imports no framework. What goes wrong is a ClientError (zoo/client/errors.py has the tree).
"""

from zoo.client.aio import AsyncClient, AsyncSequence
from zoo.client.calls import Answer, Class, ModelMetadata, TensorMetadata
from zoo.client.connection import TLS
from zoo.client.errors import ClientError
from zoo.client.sync import Client, Sequence

__all__ = [
    "TLS",
    "Answer",
    "AsyncClient",
    "AsyncSequence",
    "Class",
    "Client",
    "ClientError",
    "ModelMetadata",
    "Sequence",
    "TensorMetadata",
]
