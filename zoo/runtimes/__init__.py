"""Compatibility with other runtimes: runs ONNX files in each, in a process of its own, and records the results."""
