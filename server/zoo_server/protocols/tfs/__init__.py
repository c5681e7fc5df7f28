"""TensorFlow Serving's gRPC services, without TensorFlow."""
