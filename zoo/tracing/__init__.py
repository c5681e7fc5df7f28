"""From a Keras model to a TensorFlow function fit for conversion.

interface.py   names, types and shapes of inputs and outputs, in Keras's order
function.py    the traced function: inference only, batch unknown, every tensor named by us
patches.py     what is different in Keras while tracing, and put back whatever happens
handlers.py    operators that tf2onnx does not know, or writes wrong
samples.py     rows to compare on: the user's, or seeded random ones
"""
