"""From a Keras model to an ONNX graph; no disk, no runtime. The one room that knows tf2onnx.

interface    names, types and shapes of inputs and outputs, in Keras's order
function     the traced function: inference only, batch unknown, every tensor named by us
patches      what is different in Keras while tracing, and put back whatever happens
handlers     operators that tf2onnx does not know, or writes wrong
recurrent    Keras's recurrent layers as ONNX's own operators
passes       passes over the graph, each with the condition under which it is right
conversion   all of these in order
"""
