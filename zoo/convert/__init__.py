"""From a Keras model to an ONNX graph, in memory: no file is read or written, no graph is run.

signature      names, types and shapes of inputs and outputs, in Keras's order, and the call
leaves         the leaves of nested structures, and their names
specification  the signature as Keras recorded it, or as the caller says it (with integers)
function       the traced function: inference only, batch unknown, every tensor named by us
effects        what differs from call to call: random numbers, variables that a call writes
draws          the random numbers that a call draws, as inputs
patches        what is different in Keras while tracing, and put back whatever happens (with
               open_dimensions)
tokens         operators that exist in the trace only, for which ONNX nodes are written later
weights        which weights of a large model stay out of all of this until its file is written
from_function  tf2onnx, and what it cannot convert
handlers       operators that tf2onnx does not know, or writes wrong (with resizing,
               fourier, nodes)
recurrent      Keras's recurrent layers as ONNX's own operators
passes         passes over the graph, each with the condition under which it is right; onnx alone
conversion     all of these in order
opsets         the operator sets that can be requested

The one room that knows tf2onnx. It takes a model that the caller has built, so the caller has
started Keras (zoo.training.framework, which lies above this room), and keras and tensorflow are
imported here inside functions alone: importing this room starts neither.
"""
