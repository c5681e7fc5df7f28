"""session.run in a loop, without a server: the limit of every server here.

Usage: in_process.py MODEL SHAPE SECONDS, as in model.onnx 64,8,8,1 2; prints runs a second.
"""

import sys
import time

import numpy as np
import onnxruntime


def main():
    path, dims, seconds = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    (given,) = session.get_inputs()
    names = [value.name for value in session.get_outputs()]
    x = np.random.default_rng(0).random([int(dim) for dim in dims.split(",")], np.float32)
    session.run(names, {given.name: x})
    runs, began = 0, time.perf_counter()
    while time.perf_counter() - began < float(seconds):
        session.run(names, {given.name: x})
        runs += 1
    print(runs / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
