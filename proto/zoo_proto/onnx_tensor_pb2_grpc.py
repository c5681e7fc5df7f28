"""onnx_tensor.proto declares no service."""
