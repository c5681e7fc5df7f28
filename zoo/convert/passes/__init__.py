"""Passes over the exported graph, one a file; each says under which condition it is right."""
