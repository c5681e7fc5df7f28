"""Inference, from a request to its answer, independent of the wire protocol."""
