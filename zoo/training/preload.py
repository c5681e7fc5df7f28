"""Imports TensorFlow and Keras, and computes nothing: what the processes of trials are forked from.

A fork of a process that has only imported them is as good as a new one, and starts seconds earlier.
"""

from __future__ import annotations

from zoo.training.framework import set_environment

set_environment()

import keras  # noqa: E402, F401
import tensorflow  # noqa: E402, F401
