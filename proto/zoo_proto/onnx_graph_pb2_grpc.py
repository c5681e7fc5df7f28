"""onnx_graph.proto declares no service."""
