"""Imports TensorFlow and Keras: sets the environment before and determinism after the import.

TensorFlow takes seconds to import, so only what trains, exports or compares with Keras comes here.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from zoo.errors import MissingPackage, ZooError

#: Set before the import; what the user set himself stays.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # errors are shown, the build's advertisements are not
    # oneDNN's kernels choose their order of summation by machine and thread count.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}

#: Set to 1 to let TensorFlow have the GPU: off by default, since tiny models run slower there.
GPU_VARIABLE = "ZOO_TRAIN_GPU"


@dataclass(frozen=True, slots=True)
class Framework:
    """The imported modules."""

    tf: ModuleType
    keras: ModuleType


@cache
def import_keras() -> Framework:
    """Import TensorFlow and Keras, quiet and deterministic; the second call is free.

    Raises MissingPackage without the extra, ZooError when Keras runs on another backend already.
    """
    set_environment()
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise MissingPackage("tensorflow", "training and exporting") from error
    try:
        import keras
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "keras":
            raise
        raise MissingPackage("keras", "training and exporting") from error
    if keras.backend.backend() != "tensorflow":
        raise ZooError(
            f"Keras was imported before the zoo, with the backend {keras.backend.backend()!r}: "
            "set KERAS_BACKEND=tensorflow"
        )
    # ~/.keras/keras.json may say otherwise, and a model must not depend on whose home it is.
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    _make_deterministic(tf)
    return Framework(tf, keras)


def set_environment() -> None:
    """Set what TensorFlow and Keras read when they are imported."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def _make_deterministic(tf: ModuleType) -> None:
    tf.config.experimental.enable_op_determinism()
    try:
        # The zoo's tensors are tiny: handing them to threads costs more than it gives, and one
        # thread sums in one order.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if os.environ.get(GPU_VARIABLE) != "1":
            tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        # Someone used TensorFlow in this process before us; its devices are fixed by then.
        logging.getLogger(__name__).warning("TensorFlow was in use already: threads as it had them")


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and forget the layer names handed out so far."""
    keras = import_keras().keras
    # Without this a model's layer names, and its seeds, depend on what was built before it.
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
