"""Other programs that run ONNX files, each in a process of its own, and what was measured in them."""
