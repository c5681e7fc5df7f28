"""Exports ONNX files from recipes, from models in memory and from .keras files."""
