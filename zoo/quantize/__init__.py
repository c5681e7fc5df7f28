"""Smaller variants of an exported model, published where measurement says so.

build.py      int8 and fp16 files, by onnxruntime's own tools, in our canonical form
measure.py    metric on held-out rows, differences, latency in interleaved rounds
decision.py   what was measured -> published or not, and why: pure
report.py     the figures of all variants as values and tables
variants.py   all of it for one model file
"""
