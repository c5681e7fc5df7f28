"""The onnxruntime backend: sessions, execution providers, threads. Nothing else imports onnxruntime."""
