"""What the tests of TLS and of tokens share: certificates on disk, and the shortest calls."""

import http.client
import json
import ssl

import grpc
import trustme

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc

TOKEN = "sesame-1234"


class Certificates:
    """Certificates on disk: one authority, the server's and a client's certificate, and a stranger's."""

    def __init__(self, folder):
        self.authority, stranger = trustme.CA(), trustme.CA()
        authority = self.authority
        server, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("client")
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.certificate, self.key = self.write(folder, "server", server)
        self.client = self.write(folder, "client", client)
        self.stranger = self.write(folder, "stranger", stranger.issue_cert("client"))

    def write(self, folder, name, leaf):
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        certificate.write_bytes(chain)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key

    def channel(self, address, identity=None):
        """Return a gRPC channel that trusts the authority and shows an identity."""
        certificate, key = identity or (None, None)
        return grpc.secure_channel(
            address,
            grpc.ssl_channel_credentials(
                self.ca.read_bytes(),
                key.read_bytes() if key else None,
                certificate.read_bytes() if certificate else None,
            ),
        )

    def context(self, identity=None):
        """Return the same for Python's own TLS."""
        context = ssl.create_default_context(cafile=self.ca)
        if identity:
            context.load_cert_chain(*identity)
        return context

    def https(self, address, identity=None):
        """Return an HTTPS connection that does the same."""
        return http.client.HTTPSConnection(address, timeout=10, context=self.context(identity))


def status(connection, path, **headers):
    """Return a GET's status, and close the connection."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status == 401:
        assert set(json.loads(body)) == {"error"}
        assert answer.headers["www-authenticate"] == "Bearer"
    return answer.status


def ready(channel, **options):
    stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
    return stub.ServerReady(pb.ServerReadyRequest(), timeout=10, **options).ready
