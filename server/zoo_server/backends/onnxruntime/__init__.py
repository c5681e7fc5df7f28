"""The one door to onnxruntime: sessions, execution providers, threads."""
