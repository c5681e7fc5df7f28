import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.convert.backend_functions import silu_without_gradient


def traced(model: keras.Model) -> tuple[np.ndarray, weakref.ref]:
    function = tf.function(model, autograph=False)
    answer = function(np.linspace(-4, 4, 6, dtype=np.float32).reshape(2, 3)).numpy()
    return answer, weakref.ref(function.get_concrete_function(tf.TensorSpec((2, 3))).graph)


@pytest.fixture
def model() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Activation("silu")])


def test_a_graph_with_a_silu_is_forgotten(model):
    with silu_without_gradient():
        answer, graph = traced(model)
    gc.collect()
    assert graph() is None
    np.testing.assert_array_equal(answer, traced(model)[0])


def test_afterwards_silu_is_keras_own(model):
    with silu_without_gradient():
        pass
    _, graph = traced(model)
    gc.collect()
    assert graph() is not None  # if TensorFlow learns to forget it, silu_without_gradient can go
