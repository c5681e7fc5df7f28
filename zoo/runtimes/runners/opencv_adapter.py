"""OpenCV's dnn module, on the CPU.

A network keeps the shapes of the feeds it first ran with in some releases, so each shape gets a
network of its own.
"""

import re
from collections.abc import Callable

import cv2
import numpy as np


def version() -> str:
    """Return OpenCV's version."""
    return str(cv2.__version__)


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Read the file; its outputs come back under the names OpenCV keeps."""
    cv2.setNumThreads(1)
    cv2.dnn.readNetFromONNX(path)  # so that a file it refuses is refused at load

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        network = cv2.dnn.readNetFromONNX(path)
        for name, array in feeds.items():
            network.setInput(array, name)
        names = list(network.getUnconnectedOutLayersNames())
        return dict(zip(names, network.forward(names), strict=True))

    return run


def reason(text: str) -> str:
    """Return an error's words without source files, line numbers and C++ signatures."""
    text = re.sub(r"OpenCV\([^)]*\) \S+:\d+: error: ", "", text)
    text = re.sub(r"\(-\d+:Unspecified error\) in function '.*?'\n", "\n", text)
    return re.sub(r"^[> ]+", "", text, flags=re.MULTILINE)
