"""Quantization: int8 and fp16 variants of an exported model, published if metric and size allow.

build.py       int8 and fp16 files, by onnxruntime's own tools, with our names and order of nodes
overflow.py    whether half precision holds what a graph computes
evidence.py    the rows and metrics that variants are calibrated and judged by
comparison.py  answers on held-out rows, compared with fp32's
decision.py    loss and size -> published or not, and why: pure
report.py      the figures of all variants as tables and text
variants.py    all of it for one model file
"""
