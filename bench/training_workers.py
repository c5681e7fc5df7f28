"""Where the time of two training workers goes, beside one process: python -m bench.training_workers.

    python -m bench.training_workers            a minute; prints JSON
    python -m bench.training_workers --batch 512

The recipe is cnn_digits10. Epochs are timed by themselves, without the start, in processes with one thread for computing:
of one process; of one process with half the rows of each batch, which is what each of two workers computes; of two
workers; and of two workers that only add up arrays of the gradients' shapes, a batch's after the other.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bench.report import load_average

#: Epochs that are timed, after one that is not.
_EPOCHS = 5


def work(index: int, addresses: list[str], mode: str, batch: int, results: Any) -> None:
    """Time epochs in this process; the first worker reports."""
    from zoo.recipes.cnn import cnn_digits10
    from zoo.training.loop import _epoch_function
    from zoo.training.train import prepared_model
    from zoo.training.workers import Cluster, Workers

    workers = Workers(Cluster(tuple(addresses), index)) if len(addresses) > 1 else Workers()
    recipe: Any = replace(cnn_digits10, batch_size=batch)
    model, splits = prepared_model(recipe, workers)
    if mode == "half":
        recipe = replace(recipe, batch_size=batch // 2)
        half = len(splits.train) // 2
        train = splits.train
        splits = replace(splits, train=replace(train, x=train.x[:half], y=train.y[:half]))
    if mode == "sums":
        steps = -(-len(splits.train) // recipe.batch_size)
        epoch = _sums(workers, [tuple(v.shape) for v in model.trainable_variables], steps)
    else:
        epoch = _epochs(recipe, model, splits, workers, _epoch_function)
    epoch()
    seconds, cpu = [], time.process_time()
    for _ in range(_EPOCHS):
        began = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - began)
    if index == 0:
        results.put((seconds, (time.process_time() - cpu) / _EPOCHS))


def _epochs(
    recipe: Any, model: Any, splits: Any, workers: Any, function: Any
) -> Callable[[], object]:
    from zoo.training.framework import import_keras

    keras = import_keras().keras
    with workers.scope():
        optimizer = keras.optimizers.Adam(recipe.learning_rate)
        optimizer.build(model.trainable_variables)
    run = function(recipe, model, optimizer, splits, workers)
    order = np.arange(len(splits.train), dtype=np.int32)
    return lambda: [float(value) for value in run(order)]


def _sums(workers: Any, shapes: list[tuple[int, ...]], steps: int) -> Callable[[], object]:
    """Return what adds up the gradients of an epoch, and computes none."""
    from zoo.training.framework import import_keras

    tf = import_keras().tf
    arrays = [tf.zeros(shape) for shape in shapes]

    def step(values: Any) -> Any:
        return tf.distribute.get_replica_context().all_reduce("SUM", values)

    @tf.function  # type: ignore[untyped-decorator]  # tensorflow ships no types
    def run() -> Any:
        total = tf.constant(0.0)
        for _ in tf.range(steps):
            total += tf.reduce_sum(workers.run(step, arrays)[-1])
        return total

    return lambda: float(run())


def measure(mode: str, count: int, batch: int) -> dict[str, float]:
    """Run so many workers; return the median seconds of an epoch, and the CPU seconds of the first worker."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    addresses = [f"127.0.0.1:{_free_port()}" for _ in range(count)]
    processes = [
        context.Process(target=work, args=(index, addresses, mode, batch, results), daemon=True)
        for index in range(count)
    ]
    for process in processes:
        process.start()
    try:
        seconds, cpu = results.get(timeout=300)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return {
        "epoch ms": round(1e3 * statistics.median(seconds), 1),
        "best epoch ms": round(1e3 * min(seconds), 1),
        "CPU ms an epoch of a worker": round(1e3 * cpu, 1),
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=64, metavar="ROWS", help="(64, the recipe's)")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    figures: dict[str, Any] = {
        name: measure(mode, count, options.batch)
        for name, mode, count in (
            ("one process", "whole", 1),
            ("one process, half of each batch", "half", 1),
            ("two workers", "whole", 2),
            ("two workers, sums of gradients alone", "sums", 2),
        )
    }
    print(json.dumps({"batch": options.batch, **figures, "load average": load_average()}, indent=2))


if __name__ == "__main__":
    main()
