"""The server behind Ray Serve's gRPC ingress: a replica is this server without ports."""
