"""session.run in a loop, without a server: the limit of every server here.

Usage: in_process.py MODEL SHAPE SECONDS, as in model.onnx 64,8,8,1 2; prints runs a second, and the
CPU microseconds of one.
"""

import sys
import time

import numpy as np
import onnxruntime


def main() -> None:
    """Run for so long."""
    path, dims, seconds = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    (tensor,) = session.get_inputs()
    names = [value.name for value in session.get_outputs()]
    x = np.random.default_rng(0).random([int(dim) for dim in dims.split(",")], np.float32)
    session.run(names, {tensor.name: x})
    runs, began, used = 0, time.perf_counter(), time.process_time()
    end = began + float(seconds)
    while time.perf_counter() < end:
        session.run(names, {tensor.name: x})
        runs += 1
    print(runs / (time.perf_counter() - began), (time.process_time() - used) / runs * 1e6)


if __name__ == "__main__":
    main()
