"""The three ways to an ONNX file: from a recipe, from a model in memory, from a .keras file."""
