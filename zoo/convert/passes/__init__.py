"""Passes over the exported graph, one a file; each says under which condition it is right.

Why not a library's optimizer? Each ran on 30 graphs as they come to clean.py (the registry's fourteen
models, MobileNetV2, EfficientNetB0, ConvNeXt, single layers), with onnx 1.23.2 and onnxruntime 1.32 at
batch 1 and 7. The outputs differ from the input graph's by at most about 1e-7 of their size (onnxslim
fuses BatchNormalization). One graph, a grouped Conv3D, runs neither before nor after any of the tools:
it needs the pass `groups`. What remains is:

                              nodes of     graphs of 30 in which our pass still finds work
                              the fourteen  shapes  folding  neutral  gemm  flatten_weights  groups
    as they come                       201      10        2       16    18                6       1
    onnxslim 0.1.98                    139       1        0        0    18                5       1
    onnxscript 0.7.2, optimizer        194      10        1        9    18                6       1
    onnxoptimizer 0.4.2                180       9        1        1    18                6       1
    these passes                       115

None puts a bias into Gemm, reorders rows behind a Flatten, or mends Conv's missing group and
ConvTranspose's negative padding, without which a graph does not run at all. onnxoptimizer fails an
assertion on attention.

onnxslim comes closest. Of the atlas's 417 exported graphs it makes 34 smaller than these passes (by
merged transposes, shared subexpressions and Conv with BatchNormalization, all of which onnxruntime
does when it loads a file), and 24 larger. It leaves a Reshape with two open dimensions and Keras's
Resizing with padding (38 nodes, here 20), so that shapes and folding stay, and neutral alone, 45
lines, could go. In return it needs sympy (80 MB installed), and the bytes of one of the 30 graphs
(attention) change with Python's hash seed. So these passes stay, and no library is added.
"""
