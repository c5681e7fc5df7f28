"""Programs that run graphs; onnxruntime is the only one."""
