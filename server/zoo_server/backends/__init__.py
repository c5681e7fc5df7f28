"""Inference backends, the libraries that run graphs; onnxruntime is the only one."""
