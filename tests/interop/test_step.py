"""The step model over the wire: one value at a time is the whole window at once."""

import queue

import numpy as np
import pytest
import tritonclient.grpc as triton

from zoo.client import Client
from zoo.parity.compare import Tolerance, compare, scale_of

pytestmark = pytest.mark.interop


def inputs_of(value: float) -> list[triton.InferInput]:
    """The inputs of one step."""
    tensor = triton.InferInput("value", [1, 1, 1], "FP32")
    tensor.set_data_from_numpy(np.full((1, 1, 1), value, np.float32))
    return [tensor]


def test_a_streamed_window_is_the_whole_window(trained, address) -> None:
    """tritonclient streams three windows, value by value and interleaved; the last answers are Keras's."""
    feeds, answers = trained.keras("lstm_sunspots")
    windows, expected = feeds["years"][:3, :, 0], answers["forecast"][:3, 0]
    came: queue.Queue[tuple[triton.InferResult, Exception | None]] = queue.Queue()
    with triton.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        steps = windows.shape[1]
        for at in range(steps):
            for number, window in enumerate(windows):
                client.async_stream_infer(
                    "lstm_sunspots_step",
                    inputs_of(window[at]),
                    request_id=f"{number}-{at}",
                    sequence_id=100 + number,
                    sequence_start=at == 0,
                    sequence_end=at == steps - 1,
                )
        last = {}
        for _ in range(steps * len(windows)):
            result, error = came.get(timeout=20)
            assert error is None, error
            last[result.get_response().id] = result.as_numpy("forecast")[0, 0]
        client.stop_stream()

    forecasts = np.array([last[f"{number}-{steps - 1}"] for number in range(3)])
    row = compare(expected, forecasts, Tolerance(), scale=scale_of(expected))
    assert row["ok"], row


def test_the_zoos_client_streams_windows(trained, address) -> None:
    """A sequence a window, interleaved and used again for the next: the last answers are Keras's."""
    feeds, answers = trained.keras("lstm_sunspots")
    windows, expected = feeds["years"][:6], answers["forecast"][:6, 0]
    forecasts = []
    with Client(address) as client:
        sequences = [client.sequence("lstm_sunspots_step") for _ in range(3)]
        for three in (windows[:3], windows[3:]):
            for at in range(steps := windows.shape[1]):
                last = [
                    sequence.infer(window[None, at : at + 1], end=at == steps - 1)
                    for sequence, window in zip(sequences, three, strict=True)
                ]
            forecasts += [answer[0, 0] for answer in last]

    row = compare(expected, np.array(forecasts), Tolerance(), scale=scale_of(expected))
    assert row["ok"], row


def test_the_step_is_published_as_a_model(trained) -> None:
    """With its state left to the server, its own card, vectors and proof."""
    folder = trained.repository / "lstm_sunspots_step"
    config = (folder / "config.pbtxt").read_text()

    assert "sequence_batching" in config
    assert 'input_name: "hidden_before"' in config
    assert 'output_name: "cell_after"' in config
    for name in ("model.onnx", "manifest.json", "README.md", "model.svg", "test_data_set_0"):
        assert (folder / "1" / name).exists()
