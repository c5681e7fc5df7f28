"""Parity with Keras: the proof that an ONNX file gives Keras's answers.

cases, adversarial   a recipe's rows: real, random, and such as no data set has
samples              a user's rows, or seeded random ones
answered_rows        rows that a user's model answers, with its answers
keras_answers        what Keras answers to rows, in float32 and in its own order
runtimes, reference  onnxruntime and the ONNX reference evaluator, behind one interface
prove                file × cases × policy -> proof, in the runtimes of this process
compare              pure: answers -> comparisons
vectors              cases as test_data_set_N folders beside a file
random_numbers       that a file which draws runs, once what it draws from is proven
variants             the ONNX files of one version
"""
