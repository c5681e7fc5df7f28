"""The inference server: reads a model repository, answers the Open Inference Protocol."""
