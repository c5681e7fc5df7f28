"""Keras's recurrent layers as ONNX's own operators, written from the layers' weights.

    substitute.py   while tracing: which calls are replaced by a token
    plan.py         a layer's weights and options as ONNX wants them
    operators.py    token -> LSTM, GRU or RNN
    portable.py     token -> Gemm and Slice for a fixed length, for runtimes without the operators

tf2onnx finds an LSTM by its pattern, and never a GRU or SimpleRNN: those become a Loop, which
onnxruntime runs 2 to 24 times slower at batch 1.
"""

#: The private operator that stands for a layer between conversion and expansion.
DOMAIN = "layer_zoo"
PLACEHOLDER = "Recurrent"
